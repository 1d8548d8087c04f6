"""6. Whatever was lost is put right by one act: the newest change of the document, once more."""

import pytest

from shared.domain.ids import doc_key
from shared.domain.ordering import Record


@pytest.fixture
async def house(house):
    await house.write("a.md", "# One\n\nthe harbour lantern\n\n# Two\n\nthe granite orchard")
    await house.work()
    house.model.read.clear()
    return house


async def ids(house):
    key = doc_key("docs", "a.md")
    return (await house.store.ids({key: 2**53}))[key]


async def test_a_row_that_the_store_lost_is_written_anew_from_the_cache(house):
    await house.store.delete(list(await ids(house))[:1])

    await house.repair("a.md")
    await house.work()

    assert len(await ids(house)) == 2
    assert house.model.read == []


async def test_a_row_that_nobody_lists_is_cleaned_away(house):
    key = doc_key("docs", "a.md")
    entry = await house.ledger.get(key)
    known = entry.record.settled
    forgotten = Record("docs", "a.md", type(known)(known.seq, "indexed", known.rows[:1], 0.0, 0.0))
    await house.ledger.update(key, forgotten, expect=entry.at)

    await house.repair("a.md")
    await house.work()

    record = (await house.ledger.get(key)).record
    assert await ids(house) == {row.id(key) for row in record.settled.rows}
    assert len(await house.search("the")) == 2


async def test_a_repair_that_nobody_needed_harms_nothing(house):
    await house.repair("a.md")
    await house.work()

    assert house.model.read == []
    assert len(await ids(house)) == 2
    assert sorted(await house.search("the")) == ["the granite orchard", "the harbour lantern"]


async def test_a_repair_never_comes_before_a_newer_change(house):
    await house.write("a.md", "the copper violin")
    await house.repair("a.md")
    await house.work()

    assert await house.search("the") == ["the copper violin"]
