"""2. The model reads a text once: edits, moves and repairs encode only texts that are new."""

import pytest

from shared.ports import Filter

GUIDE = "# Guide\n\n## Install\n\nUse pip.\n\n## Run\n\nType instep up.\n\n## Stop\n\nPress Ctrl-C."


@pytest.fixture
async def indexed(house):
    await house.write("guide.md", GUIDE)
    await house.work()
    house.model.read.clear()
    house.results.clear()
    return house


async def test_an_edit_encodes_the_chunk_that_it_changed(indexed):
    await indexed.write("guide.md", GUIDE.replace("Use pip.", "Use pip or uv."))
    await indexed.work()

    assert indexed.model.read == ["Guide > Install\nUse pip or uv."]
    counts = indexed.results[-1].chunks
    assert (counts.total, counts.inserted, counts.kept, counts.removed) == (3, 1, 2, 1)


async def test_saving_a_file_as_it_was_encodes_nothing(indexed):
    await indexed.write("guide.md", GUIDE)
    await indexed.work()

    assert indexed.model.read == []
    assert indexed.results[-1].chunks.kept == 3


async def test_a_moved_or_copied_file_encodes_nothing(indexed):
    await indexed.write("archive/guide.md", GUIDE)
    await indexed.delete("guide.md")
    await indexed.work()

    assert indexed.model.read == []
    assert (await indexed.state("archive/guide.md")).word == "searchable"
    assert (await indexed.state("guide.md")).word == "removed"


async def test_a_chunk_that_comes_back_is_a_new_row_with_the_old_vector(indexed):
    before = await rows_of(indexed)
    await indexed.write("guide.md", GUIDE.replace("Press Ctrl-C.", "Wait."))
    await indexed.work()
    indexed.model.read.clear()

    await indexed.write("guide.md", GUIDE)
    await indexed.work()

    assert indexed.model.read == []
    after = await rows_of(indexed)
    assert len(after) == len(before) == 3
    assert (
        len(after - before) == 1
    )  # a deleted id is never wanted again, so late writers cannot hurt


async def test_moving_a_section_keeps_its_row(indexed):
    before = await rows_of(indexed)
    first, *others = GUIDE.split("\n\n## ")

    await indexed.write("guide.md", "\n\n## ".join([first, *reversed(others)]))
    await indexed.work()

    assert await rows_of(indexed) == before
    assert indexed.model.read == []


async def rows_of(house):
    found = set()
    for question in ("Install Use pip", "Run Type instep up", "Stop Press Ctrl-C"):
        found |= {
            hit.id for hit in await house.store.search_text(question, limit=9, where=Filter())
        }
    return found


async def test_another_template_has_only_texts_embedded_that_the_model_has_not_read(house):
    await house.submit(path="a.md", title="Hose", text="It does not kink.")
    await house.submit(path="b.md", title="", text="It has no title.")
    await house.work()
    before = list(house.model.read)

    house.templated("{title} {title}\n{text}")
    for path in ("a.md", "b.md"):
        await house.repair(path)
    await house.work()

    assert before == ["Hose\nIt does not kink.", "It has no title."]
    assert house.model.read[len(before) :] == ["Hose Hose\nIt does not kink."]
