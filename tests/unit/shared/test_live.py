"""Which generation is served, and what becomes of an index that an older release built."""

import json
from dataclasses import replace

import pytest
from memory_kv import MemoryShelf

from shared.domain.errors import ConfigurationError, NotProvisioned
from shared.generation import Generation
from shared.live import ANEW, LIVE, known_generation, live_generation
from shared.settings import Chunking

WANTED = Generation("/models/m", "f32", "new", 384, Chunking())
BY_OLD = {
    "model": "/models/m",
    "numeric": "f32",
    "fingerprint": "old",
    "dimensions": 384,
    "chunking": {"kind": "document", "tokens": 220, "overlap": 0.12},
    "chunker": 1,
}


@pytest.fixture
async def shelf():
    """A shelf whose index was built by the release before."""
    shelf = MemoryShelf()
    await shelf.put(LIVE, json.dumps(BY_OLD).encode())
    return shelf


async def test_the_first_start_notes_the_wanted_generation_as_every_release_reads_it():
    shelf = MemoryShelf()
    live = await live_generation(shelf, WANTED, "old")

    assert (live.generation, live.differences, live.upgraded) == (WANTED, (), "")
    assert json.loads(await shelf.get(LIVE)) == BY_OLD | {"fingerprint": "new"}


async def test_an_index_of_the_release_before_keeps_its_generation_and_the_name_of_its_vectors(
    shelf,
):
    live = await live_generation(shelf, WANTED, "old")
    again = await live_generation(shelf, WANTED, "old")

    assert live.generation.id == Generation.from_dict(BY_OLD).id
    assert live.generation.fingerprint == "old"
    assert live.generation.encoder_fingerprint == "new"
    assert live.differences == again.differences == ()
    assert again.generation == live.generation
    assert "its vectors are kept" in live.upgraded
    assert live.upgraded.endswith(ANEW)
    assert again.upgraded == ""


async def test_files_that_change_after_the_upgrade_are_noticed(shelf):
    await live_generation(shelf, WANTED, "old")
    live = await live_generation(shelf, replace(WANTED, fingerprint="newer"), "old")

    assert live.differences == ("the files of /models/m have changed",)
    assert live.generation.encoder_fingerprint == "new"
    assert live.upgraded == ""


async def test_what_the_release_before_called_otherwise_is_another_model(shelf):
    live = await live_generation(shelf, WANTED, "older")

    assert live.differences == ("the files of /models/m have changed",)
    assert json.loads(await shelf.get(LIVE)) == BY_OLD


@pytest.mark.parametrize("formerly", ["", "new"])
async def test_an_index_of_this_release_is_no_upgrade(formerly):
    shelf = MemoryShelf()
    await live_generation(shelf, WANTED)

    assert (await live_generation(shelf, WANTED, formerly)).upgraded == ""


async def test_who_may_not_decide_serves_the_upgraded_index_and_writes_nothing(shelf):
    live = await known_generation(shelf, WANTED, "old")

    assert live.generation == (await live_generation(shelf, WANTED, "old")).generation
    assert live.upgraded
    with pytest.raises(NotProvisioned):
        await known_generation(MemoryShelf(), WANTED)


async def test_who_may_not_decide_changes_no_note(shelf):
    await known_generation(shelf, WANTED, "old")

    assert json.loads(await shelf.get(LIVE)) == BY_OLD


async def test_a_model_that_has_moved_is_found_where_the_settings_say(shelf):
    moved = replace(WANTED, fingerprint="old", model="/elsewhere/m")
    live = await live_generation(shelf, moved)

    assert (live.generation.model, live.differences) == ("/elsewhere/m", ())
    assert live.generation.id == Generation.from_dict(BY_OLD).id


async def test_another_model_is_not_served_in_place_of_the_live_one(shelf):
    live = await live_generation(shelf, replace(WANTED, model="/models/other"))

    assert live.generation == Generation.from_dict(BY_OLD)
    assert len(live.differences) == 1


@pytest.mark.parametrize("note", [b"", b"{}", b"[]", b'{"model": "m", "more": 1}'])
async def test_a_note_of_an_unknown_version_is_refused(note):
    shelf = MemoryShelf()
    await shelf.put(LIVE, note)

    with pytest.raises(ConfigurationError, match="another version") as raised:
        await live_generation(shelf, WANTED)

    assert "start that version again" in str(raised.value)
    assert str(raised.value).endswith(ANEW)
    assert await shelf.get(LIVE) == note
