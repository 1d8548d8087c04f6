"""What cannot be read, as the sweep and the recorder of failures meet it."""

from datetime import UTC, datetime

import pytest
from house import GENERATION, House

from services.validator.failures import Failure, RecordFailure
from services.validator.sweep.differences import Census
from services.validator.sweep.sweep import Sweep, SweepLimits
from shared.domain.events import Document
from shared.domain.ids import doc_key
from shared.domain.ordering import Failed, Reason, Record, Settled, fail, state
from shared.observe.progress import Progress

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = doc_key("docs", "two.md")
NEWER = b'{"schema": 2}'
NAMES = ("one.md", "two.md")


class StillRoad:
    """Everything that was sent has arrived."""

    async def taken(self):
        return 2**53

    async def passed(self, within_s):
        return True

    async def carried(self, most):
        return frozenset()


async def swept(house, *, listed=("docs",), dry_run=False):
    """A sweep that leaves its repairs to whoever works afterwards."""
    sweep = Sweep(
        GENERATION, house.ledger, house.store, house.changes, StillRoad(), lambda: house.time,
        lambda: listed, SweepLimits(second_look_s=0),
    )  # fmt: skip
    return await sweep(batch_size=0, dry_run=dry_run)


@pytest.fixture
async def house():
    house = House()
    for name in NAMES:
        await house.write(name, f"# {name}\n\nthe granite {name.partition('.')[0]}\n")
    await house.work()
    return house


async def failure_of(house, key=KEY):
    return (await house.ledger.get(key)).record.failed


async def test_a_document_whose_change_cannot_be_read_is_noted_and_told_by_every_sweep(house):
    at = house.changes.write("docs", KEY, b"garbage")

    for _ in range(2):
        found = await swept(house)
        noted = await failure_of(house)

        assert (found.lost, found.beyond_repair, found.resubmitted) == (1, 1, {})
        assert found.needs_you
        assert (noted.seq, noted.stage, noted.reason.code) == (at, "enrich", "malformed_event")
    assert (await house.state("two.md")).stale
    assert await house.search("the granite two")


async def test_what_cannot_be_sent_again_is_not_expected(house):
    house.changes.write("docs", KEY, b"garbage")
    house.ledger.write(doc_key("docs", "one.md"), b"garbage")
    expected = []
    sweep = Sweep(
        GENERATION, house.ledger, house.store, house.changes, StillRoad(), lambda: house.time,
        lambda: ("docs",), SweepLimits(second_look_s=0), expected.append,
    )  # fmt: skip
    found = await sweep(batch_size=0)

    assert found.beyond_repair == 1
    assert sum(expected) == len(found.resubmitted) == 1


async def test_a_rehearsal_notes_nothing(house):
    house.changes.write("docs", KEY, b"garbage")

    await swept(house, dry_run=True)

    assert await failure_of(house) is None


async def test_what_a_person_lets_be_is_left_alone(house):
    house.changes.write("docs", KEY, b"garbage")
    await swept(house)
    entry = await house.ledger.get(KEY)
    noted = entry.record.failed
    dropped = Failed(noted.seq, noted.stage, noted.reason, dropped=True)
    record = Record("docs", "two.md", entry.record.settled, failed=dropped)
    await house.ledger.update(KEY, record, expect=entry.at)

    assert (await swept(house)).clean
    assert (await failure_of(house)).dropped


async def test_a_version_that_can_read_the_change_submits_it(house):
    at = house.changes.write("docs", KEY, NEWER)
    await swept(house)
    newest = await house.changes.newest("docs", doc_key("docs", "one.md"))
    document = newest.change.document.model_copy(
        update={"path": "two.md", "doc_key": KEY, "revision": at}
    )
    readable = newest.change.model_copy(update={"document": document})
    house.changes._newest[f"docs.{KEY}"] = type(newest)(at, readable)  # as after an upgrade

    found = await swept(house)
    await house.work()

    assert list(found.resubmitted) == [KEY]
    assert (await house.state("two.md")).word == "searchable"
    assert (await swept(house)).clean


async def test_a_document_that_only_garbage_knows_is_listed_under_its_key(house):
    key = doc_key("docs", "nobody's.md")
    house.changes.write("docs", key, b"garbage")

    found = await swept(house)
    record = (await house.ledger.get(key)).record

    assert found.samples["beyond_repair"] == (f"docs/{key}",)
    assert (record.path, state(record).word) == ("", "failed")


async def test_garbage_under_the_key_of_another_source_s_document_does_not_concern_it(house):
    house.changes.write("inbox", KEY, b"garbage")

    assert (await swept(house)).clean
    assert await failure_of(house) is None
    await house.write("two.md", "# Two\n\nan edit\n")
    house._read = len(house.changes.appended)
    assert (await swept(house)).lost == 1


def test_the_change_of_its_own_source_counts_whichever_comes_later():
    record = Record("docs", "two.md", Settled(5, "removed", (), 0.0, 0.0))
    for order in (("docs", "inbox"), ("inbox", "docs")):
        census = Census(taken=99, stuck_before=0.0)
        for seq, source in enumerate(order, 10):
            census.change(source, KEY, seq)
        census.record(KEY, record)

        assert census.head(KEY) == ("docs", 10 + order.index("docs"))


# -- the ledger ------------------------------------------------------------------------------------


async def test_a_record_that_cannot_be_read_is_made_anew_without_encoding(house):
    house.model.read.clear()
    house.ledger.write(KEY, b"garbage")

    found = await swept(house)
    await house.work()

    assert (found.lost, list(found.resubmitted)) == (1, [KEY])
    assert (await house.state("two.md")).word == "searchable"
    assert house.model.read == []
    assert (await swept(house)).clean


async def test_a_record_that_cannot_be_read_and_that_nothing_else_knows_ends_as_removed(house):
    nobodys = "z" * 26
    house.ledger.write(nobodys, b"garbage")

    await swept(house, dry_run=True)
    assert await house.ledger.get(nobodys) is None
    await swept(house)

    assert state((await house.ledger.get(nobodys)).record).word == "removed"
    assert (await swept(house)).clean


async def test_a_record_that_cannot_be_read_but_whose_rows_are_known_is_not_ended(house):
    del house.changes._newest[f"docs.{KEY}"]
    house.ledger.write(KEY, b"garbage")

    found = await swept(house, listed=())

    assert (found.unknown, found.held) == (1, 1)
    assert await house.ledger.get(KEY) is None


# -- failures --------------------------------------------------------------------------------------


def unread(source="docs", key=KEY, path=""):
    document = Document(source=source, path=path, doc_key=key, revision=2**40, changed_at=NOW)
    return Failure(document, None, "enrich", "malformed_event", "no change")


async def test_the_ledger_tells_which_document_a_change_without_a_path_is_of(house):
    record = RecordFailure(GENERATION, house.ledger, Progress())

    (event,) = await record(unread())

    assert (event.document.path, event.batch.count) == ("two.md", 1)
    assert (await house.state("two.md")).word == "failed"


async def test_a_change_of_no_known_document_is_noted_and_announced_to_nobody(house):
    record = RecordFailure(GENERATION, house.ledger, Progress())

    assert await record(unread(key="z" * 26)) == []
    assert state((await house.ledger.get("z" * 26)).record).word == "failed"


async def test_a_change_in_another_source_s_name_does_not_fail_the_document(house):
    record = RecordFailure(GENERATION, house.ledger, Progress())

    assert await record(unread(source="inbox")) == []
    assert (await house.state("two.md")).word == "searchable"


async def test_the_next_change_ends_what_could_not_be_read(house):
    at = house.changes.write("docs", KEY, b"garbage")
    entry = await house.ledger.get(KEY)
    failed = Failed(at, "enrich", Reason("malformed_event", "x"))
    noted = fail(entry.record, failed, source="docs", path="two.md")
    await house.ledger.update(KEY, noted, expect=entry.at)

    await house.write("two.md", "# Two\n\nthe granite two, edited\n")
    await house.work()

    assert (await house.state("two.md")).word == "searchable"
