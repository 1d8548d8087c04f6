import asyncio
import os
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from exchange import again_and_again, at_its_opening

from services.enricher.fetch import Load, read_reference
from shared.domain.errors import DocumentRefused, TransientError
from shared.domain.events import (
    Batch,
    Document,
    DocumentChanged,
    Inline,
    Linked,
    Ready,
    Reference,
    Stored,
    SubmittedChunk,
)
from shared.domain.ids import doc_key

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Bodies:
    """A ContentStore of what was put."""

    def __init__(self):
        self.kept = {}

    async def put(self, data):
        self.kept[sha256(data).hexdigest()] = data
        return sha256(data).hexdigest()

    async def get(self, content_hash):
        return self.kept[content_hash]


def changed(content, size=0):
    return DocumentChanged(
        document=Document(source="docs", path="a", doc_key=doc_key("docs", "a"), changed_at=NOW),
        batch=Batch(id="b", count=1, source="docs", started_at=NOW),
        op="upserted",
        content=content,
        size=size,
    )


def link(path):
    return changed(Linked(ref=Reference(url=path if isinstance(path, str) else path.as_uri())))


@pytest.fixture
def load(tmp_path):
    (tmp_path / "docs").mkdir()
    prefix = (tmp_path / "docs").as_uri() + "/"
    return Load(Bodies(), references={"docs": (prefix,)}, max_bytes={"docs": 10})


async def refused(load, event):
    with pytest.raises(DocumentRefused) as refusal:
        await load(event)
    return refusal.value.code


@pytest.mark.parametrize("data", [b"text \xc3\xa9", b"\xff\x00\xfe"])
async def test_inline_content_is_its_bytes_with_their_hash(load, data):
    loaded = await load(changed(Inline.of(data)))

    assert (loaded.data, loaded.content_hash) == (data, sha256(data).hexdigest())


async def test_inline_content_that_is_no_base64_is_corrupt(load):
    assert await refused(load, changed(Inline(encoding="base64", data="a"))) == "corrupt"


async def test_stored_content_is_read_and_missed_when_gone(load):
    name = await load.contents.put(b"body")

    assert (await load(changed(Stored(hash=name)))).data == b"body"
    assert await refused(load, changed(Stored(hash="0" * 64))) == "source_gone"


async def test_content_above_the_limit_is_refused_wherever_it_lies(load, tmp_path):
    name = await load.contents.put(b"x" * 11)
    (tmp_path / "docs/a").write_bytes(b"x" * 11)

    assert await refused(load, changed(Inline(data="x" * 11))) == "too_large"
    assert await refused(load, changed(Stored(hash=name))) == "too_large"
    assert await refused(load, link(tmp_path / "docs/a")) == "too_large"
    assert await refused(load, changed(Inline(data="x"), size=11)) == "too_large"


async def test_a_reference_below_an_allowed_folder_is_read(load, tmp_path):
    (tmp_path / "docs/a b.md").write_bytes(b"read")

    assert (await load(link(tmp_path / "docs/a b.md"))).data == b"read"


async def test_a_reference_that_leaves_its_folder_is_not_followed(load, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "docs/link").symlink_to(tmp_path / "secret")
    (tmp_path / "docs2").mkdir()
    (tmp_path / "docs2/a").write_bytes(b"secret")
    docs = (tmp_path / "docs").as_uri()

    for url in (
        tmp_path / "secret",
        tmp_path / "docs/link",
        tmp_path / "docs2/a",
        tmp_path / "nothing",
        f"{docs}/../secret",
        f"{docs}/%2e%2e/secret",
        f"{docs}/../nothing",
        f"{docs.replace('file://', 'file://elsewhere')}/a",
        f"{docs}/a%00b",
        "https://example.org/a",
        "file:relative",
    ):
        assert await refused(load, link(url)) == "reference_not_allowed", url


async def test_no_prefix_allows_no_reference(tmp_path):
    (tmp_path / "a").write_bytes(b"x")

    assert await refused(Load(Bodies()), link(tmp_path / "a")) == "reference_not_allowed"


async def test_a_linked_file_inside_the_folder_is_followed(load, tmp_path):
    (tmp_path / "docs/real").write_bytes(b"x")
    (tmp_path / "docs/link").symlink_to("real")

    assert (await load(link(tmp_path / "docs/link"))).data == b"x"


async def test_a_reference_to_nothing_or_a_folder_is_gone(load, tmp_path):
    (tmp_path / "docs/folder").mkdir()

    assert await refused(load, link(tmp_path / "docs/missing")) == "source_gone"
    assert await refused(load, link(tmp_path / "docs/folder")) == "source_gone"


@pytest.fixture
def outside(tmp_path):
    """`docs/first/second/a.md`, and the same path outside with a secret."""
    for root, text in (("docs", b"allowed"), ("outside", b"secret")):
        (tmp_path / root / "first/second").mkdir(parents=True)
        (tmp_path / root / "first/second/a.md").write_bytes(text)
    return tmp_path / "outside"


@pytest.mark.parametrize("part", ["first", "first/second", "first/second/a.md"])
async def test_a_part_of_the_path_that_becomes_a_link_when_it_is_opened_leads_nowhere(
    load, tmp_path, outside, monkeypatch, part
):
    place = tmp_path / "docs" / part
    done = at_its_opening(monkeypatch, place, lambda place: place.symlink_to(outside / part))

    assert await refused(load, link(tmp_path / "docs/first/second/a.md")) == "source_gone"
    assert done == [place]


@pytest.mark.parametrize("part", ["first", "first/second", "first/second/a.md"])
async def test_the_size_of_a_file_outside_is_not_told_either(
    load, tmp_path, outside, monkeypatch, part
):
    (outside / "first/second/a.md").write_bytes(b"x" * 1000)
    place = tmp_path / "docs" / part
    at_its_opening(monkeypatch, place, lambda place: place.symlink_to(outside / part))

    assert await load.size(link(tmp_path / "docs/first/second/a.md")) == 0


@pytest.mark.parametrize("part", ["first", "first/second", "first/second/a.md"])
def test_a_part_that_is_exchanged_all_the_time_never_leads_outside(tmp_path, outside, part):
    ref = Reference(url=(tmp_path / "docs/first/second/a.md").as_uri())
    prefixes, found = ((tmp_path / "docs").as_uri(),), set()
    with again_and_again(tmp_path / "docs" / part, outside / part):
        for _ in range(3_000):
            try:
                found.add(read_reference(ref, prefixes, 10))
            except DocumentRefused as refusal:
                found.add(refusal.code)
            except TransientError:
                found.add("again")

    assert found <= {b"allowed", "source_gone", "reference_not_allowed", "again"}
    assert read_reference(ref, prefixes, 10) == b"allowed"


@pytest.mark.parametrize("when", ["before", "at its opening"])
async def test_a_pipe_is_gone_and_not_waited_for(load, tmp_path, outside, monkeypatch, when):
    place = tmp_path / "docs/first/second/a.md"
    if when == "before":
        place.unlink()
        os.mkfifo(place)
    else:
        at_its_opening(monkeypatch, place, os.mkfifo)
    reading = asyncio.create_task(refused(load, link(place)))
    done, _ = await asyncio.wait([reading], timeout=10)
    if not done:  # let the thread that waits go on
        os.close(os.open(place, os.O_WRONLY))

    assert done
    assert await reading == "source_gone"


async def test_a_device_is_no_document():
    load = Load(Bodies(), references={"docs": ("file:///dev/",)})

    assert await refused(load, link("file:///dev/null")) == "source_gone"


async def test_the_allowed_folder_itself_is_no_document(load, tmp_path):
    assert await refused(load, link(tmp_path / "docs")) == "source_gone"


async def test_the_whole_file_system_can_be_allowed(tmp_path):
    (tmp_path / "a.md").write_bytes(b"allowed")

    load = Load(Bodies(), references={"docs": ("file:///",)})

    assert (await load(link(tmp_path / "a.md"))).data == b"allowed"


async def test_the_root_of_the_file_system_is_no_document():
    load = Load(Bodies(), references={"docs": ("file:///",)})

    assert await refused(load, link("file:///")) == "source_gone"


async def test_a_link_does_not_tell_what_exists_outside(load, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    for name, target in (("here", "secret"), ("nowhere", "nothing"), ("deep", "secret/nothing")):
        (tmp_path / "docs" / name).symlink_to(tmp_path / target)

        assert await refused(load, link(tmp_path / "docs" / name)) == "reference_not_allowed"


async def test_a_link_that_goes_while_it_is_read_is_worth_another_try(load, tmp_path, monkeypatch):
    (tmp_path / "docs/link").symlink_to("real")
    readlink = os.readlink

    def late(path, **how):
        Path(path).unlink()
        return readlink(path, **how)

    monkeypatch.setattr(os, "readlink", late)
    with pytest.raises(TransientError):
        await load(link(tmp_path / "docs/link"))


async def test_names_that_lead_nowhere_are_gone(load, tmp_path):
    (tmp_path / "docs/loop").symlink_to("loop")

    assert await refused(load, link(tmp_path / "docs/loop")) == "source_gone"
    assert await refused(load, link(tmp_path / "docs" / ("x" * 300))) == "source_gone"


def test_no_descriptor_stays_open(tmp_path, outside):
    ref = Reference(url=(tmp_path / "docs/first").as_uri())  # a folder
    descriptors = set()
    for _ in range(20):
        with pytest.raises(DocumentRefused):
            read_reference(ref, [(tmp_path / "docs").as_uri()], 10)
        with (tmp_path / "docs/first/second/a.md").open() as file:
            descriptors.add(file.fileno())

    assert len(descriptors) == 1  # always the lowest that is free


async def test_ready_chunks_have_no_bytes(load):
    with pytest.raises(TypeError):
        await load(changed(Ready(chunks=(SubmittedChunk(text="x"),))))
