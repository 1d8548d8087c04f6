"""The sweep over the real use cases: every kind of fault is found, put right once, then quiet."""

import asyncio
import dataclasses
from datetime import timedelta

import pytest
from house import GENERATION, House

from services.validator.sweep.sweep import Sweep, SweepLimits
from shared.domain.ids import doc_key, row_id
from shared.domain.ordering import Failed, Reason, fail
from shared.ports import Row

NAMES = ("one.md", "two.md", "three.md")
TEXT = "# One\n\nthe {name} lantern\n\n# Two\n\nthe granite {name}\n"


class StillRoad:
    """Nothing is on its way, but what is said; `carried` None: more than anybody looks at."""

    def __init__(self, taken=2**53, passed=True, carried=None):
        self._taken, self._passed, self._carried = taken, passed, carried

    async def taken(self):
        return self._taken

    async def passed(self, within_s):
        return self._passed

    async def carried(self, most):
        return self._carried


def sweep_of(house, **fields):
    given = {
        "generation": GENERATION,
        "ledger": house.ledger,
        "store": house.store,
        "changes": house.changes,
        "road": StillRoad(),
        "now": lambda: house.time,
        "listed": lambda: ["docs"],
        "limits": SweepLimits(second_look_s=0, give_up_s=5),
    }
    return Sweep(**given | fields)


async def swept(house, *, batch_size=0, **options):
    """A sweep that leaves its repairs to whoever works afterwards."""
    return await sweep_of(house)(batch_size=batch_size, **options)


@pytest.fixture
async def house():
    house = House()
    for name in NAMES:
        await house.write(name, TEXT.format(name=name.partition(".")[0]))
    await house.work()
    house.model.read.clear()
    return house


async def row_ids(house, name):
    key = doc_key("docs", name)
    return sorted((await house.store.ids({key: 2**53}))[key])


async def stored(house, name):
    return house.store._rows[(await row_ids(house, name))[0]]


async def put_right(house, kind, count, sent):
    """One sweep finds exactly this and sends so many documents; after it everything agrees."""
    changes = len(house.changes.appended)
    first = await swept(house)
    await house.work()
    second = await swept(house)

    assert {k: getattr(first, k) for k in KINDS if getattr(first, k)} == {kind: count}
    assert len(first.resubmitted) == sent
    assert second.clean
    assert len(house.changes.appended) == changes + sent
    assert house.model.read == []
    for name in NAMES:
        assert await house.search(f"the granite {name.partition('.')[0]}", limit=50)
    return first


KINDS = ("missing", "extra", "damaged", "lost", "stuck", "unknown", "beyond_repair", "held")


async def test_what_agrees_is_left_alone(house):
    found = await swept(house)

    assert found.clean
    assert (found.documents, found.rows, found.resubmitted) == (3, 6, {})


async def test_a_row_that_the_store_lost_is_written_anew(house):
    house.store.lose((await row_ids(house, "two.md"))[:1])

    found = await put_right(house, "missing", 1, sent=1)

    assert found.samples["missing"] == ("docs/two.md",)
    assert list(found.resubmitted) == [doc_key("docs", "two.md")]


async def test_a_row_that_nobody_lists_is_taken_out(house):
    row = await stored(house, "two.md")
    extra = dataclasses.replace(row, id=row_id(row.doc_key, "x" * 26, row.born), chunk_key="x" * 26)
    await house.store.upsert([extra])

    await put_right(house, "extra", 1, sent=1)

    assert extra.id not in await row_ids(house, "two.md")


async def test_a_row_that_nobody_lists_and_no_revision_could_have_written_is_deleted(house):
    row = await stored(house, "two.md")
    born = 2**50
    extra = dataclasses.replace(row, id=row_id(row.doc_key, row.chunk_key, born), born=born)
    await house.store.upsert([extra])

    await put_right(house, "extra", 1, sent=0)

    assert extra.id not in await row_ids(house, "two.md")


@pytest.mark.parametrize(
    "change", [{"text": "altered"}, {"path": "other.md"}, {"metadata": {"a": 1}}, {"born": 7}]
)
async def test_a_row_that_was_altered_is_written_anew(house, change):
    house.store.tamper((await row_ids(house, "two.md"))[0], **change)

    await put_right(house, "damaged", 1, sent=1)


async def test_a_wiped_store_is_rebuilt(house):
    for name in NAMES:
        house.store.lose(await row_ids(house, name))

    await put_right(house, "missing", 6, sent=3)


async def test_a_record_that_was_lost_is_made_again(house):
    del house.ledger._values[doc_key("docs", "two.md")]

    await put_right(house, "lost", 1, sent=1)


async def test_a_lost_ledger_is_rebuilt(house):
    house.ledger._values.clear()

    await put_right(house, "lost", 3, sent=3)


async def test_a_deletion_survives_the_loss_of_the_ledger(house):
    await house.delete("one.md")
    await house.work()
    house.ledger._values.clear()
    await swept(house)
    await house.work()

    assert not await row_ids(house, "one.md")
    assert (await swept(house)).clean


async def test_a_change_that_waits_for_the_enricher_is_not_lost(house):
    revision = await house.write("two.md", "# New\n\nthe granite two\n")
    sweep = sweep_of(house, road=StillRoad(taken=revision - 1))

    assert (await sweep(batch_size=0)).clean
    assert (await swept(house)).lost == 1


async def planned(house):
    """A revision that is planned, and whose parts are gone."""
    await house.write("two.md", "# New\n\nthe granite two\n")
    await house.enrich()
    house.parts.clear()
    house.vectors.clear()
    house.time += timedelta(minutes=10)


async def test_a_revision_whose_parts_are_gone_is_sent_again(house):
    await planned(house)
    first = await swept(house)
    await house.work()

    assert (first.stuck, len(first.resubmitted)) == (1, 1)
    assert (await house.state("two.md")).word == "searchable"
    assert (await swept(house)).clean


async def test_a_revision_whose_parts_wait_in_a_queue_is_not_stuck(house):
    await planned(house)

    assert (await sweep_of(house, road=StillRoad(passed=False))(batch_size=0)).clean


async def test_one_part_that_is_tried_for_long_does_not_hide_what_is_stuck(house):
    other = await house.write("one.md", "# New\n\nthe granite one\n")
    await house.enrich()
    await planned(house)
    carried = frozenset({(doc_key("docs", "one.md"), other)})
    road = StillRoad(passed=False, carried=carried)

    found = await sweep_of(house, road=road)(batch_size=0)

    assert (found.stuck, list(found.resubmitted)) == (1, [doc_key("docs", "two.md")])


async def test_a_part_of_an_older_revision_says_nothing_about_the_newer(house):
    await planned(house)
    road = StillRoad(passed=False, carried=frozenset({(doc_key("docs", "two.md"), 1)}))

    assert (await sweep_of(house, road=road)(batch_size=0)).stuck == 1


async def test_a_young_revision_is_not_stuck(house):
    await planned(house)
    house.time -= timedelta(minutes=8)

    assert (await swept(house)).clean


async def test_a_pending_revision_that_carries_a_lost_row_is_repaired(house):
    await house.write("two.md", TEXT.format(name="two") + "\n# Three\n\nmore\n")
    await house.enrich()
    house.store.lose((await row_ids(house, "two.md"))[:1])
    first = await swept(house)
    await house.work()

    assert (first.missing, len(first.resubmitted)) == (1, 1)
    assert (await swept(house)).clean
    assert (await house.state("two.md")).word == "searchable"


async def give_up(house, name):
    key = doc_key("docs", name)
    newest = await house.changes.newest("docs", key)
    entry = await house.ledger.get(key)
    failed = Failed(newest.sequence, "embed", Reason("exhausted", "no"))
    noted = fail(entry.record, failed, source="docs", path=name)
    await house.ledger.update(key, noted, expect=entry.at)


async def test_what_has_failed_is_left_to_people(house):
    await house.write("one.md", "# New\n\nthe granite one\n")
    await house.enrich()
    house.parts.clear()
    await house.write("two.md", "# New\n\nthe granite two\n")
    house._read = len(house.changes.appended)
    for name in ("one.md", "two.md"):
        await give_up(house, name)
    house.time += timedelta(hours=1)

    found = await swept(house)

    assert found.clean
    assert found.resubmitted == {}


async def refused(house, name):
    await house.write(name, "")
    await house.work()
    assert (await house.state(name)).word == "refused"


async def test_a_refused_document_that_lost_rows_is_reported_and_not_looped(house):
    await refused(house, "two.md")
    house.store.lose((await row_ids(house, "two.md"))[:1])

    for _ in range(2):
        found = await swept(house)

        assert (found.missing, found.beyond_repair, found.resubmitted) == (1, 1, {})
        assert found.needs_you
        assert found.samples["beyond_repair"] == ("docs/two.md",)


async def test_a_refused_document_with_a_row_too_many_is_put_right(house):
    await refused(house, "two.md")
    row = await stored(house, "two.md")
    extra = dataclasses.replace(row, id=row_id(row.doc_key, "x" * 26, row.born), chunk_key="x" * 26)
    await house.store.upsert([extra])
    first = await swept(house)
    await house.work()

    assert (first.extra, len(first.resubmitted)) == (1, 1)
    assert (await swept(house)).clean
    assert await house.search("the granite two")


async def test_a_document_that_docs_has_lost_too_is_reported(house):
    key = doc_key("docs", "two.md")
    del house.changes._newest[f"docs.{key}"]
    house.store.lose((await row_ids(house, "two.md"))[:1])

    found = await swept(house)

    assert (found.missing, found.beyond_repair, found.resubmitted) == (1, 1, {})


@pytest.mark.parametrize("lost_rows", [0, 1])
async def test_a_change_that_its_publisher_numbered_too_low_is_told_and_not_sent_for_ever(
    house, lost_rows
):
    key = doc_key("docs", "two.md")
    entry = await house.ledger.get(key)
    await house.ledger.update(key, dataclasses.replace(entry.record, version=9), expect=entry.at)
    newest = await house.changes.newest("docs", key)
    old = newest.change.model_copy(update={"source_version": 3})
    await house.changes.append(old, expect=newest.sequence, message_id="late")
    await house.work()
    house.store.lose((await row_ids(house, "two.md"))[:lost_rows])

    found = await swept(house)

    assert found.resubmitted == {}
    assert (found.lost, found.missing, found.beyond_repair) == (1, lost_rows, 1)
    assert found.needs_you


# -- rows of documents that nobody knows -----------------------------------------------------------


async def orphans(house, count=1, *, source="docs"):
    rows = []
    for n in range(count):
        path = f"gone{n}.md"
        key = doc_key(source, path)
        vector = (await stored(house, "one.md")).vector
        rows.append(
            Row(row_id(key, "a" * 26, 5), key, source, path, 5, "a" * 26, "", (), "t", {}, vector)
        )
    await house.store.upsert(rows)
    return [row.id for row in rows]


async def test_rows_of_a_document_that_nobody_knows_go_by_a_deletion(house):
    await orphans(house)

    found = await put_right(house, "unknown", 1, sent=1)

    assert house.changes.appended[-1].op == "deleted"
    assert found.samples["unknown"] == ("docs/gone0.md",)
    assert await house.store.count() == 6


async def test_they_stay_until_their_source_is_listed(house):
    await orphans(house)

    found = await sweep_of(house, listed=list)(batch_size=0)

    assert (found.unknown, found.held, found.resubmitted) == (1, 1, {})
    assert found.needs_you


async def test_many_of_them_wait_for_a_person(house):
    await orphans(house, 20)
    found = await swept(house)
    forced = await swept(house, force=True)
    await house.work()

    assert (found.unknown, found.held, found.resubmitted) == (20, 20, {})
    assert (forced.held, len(forced.resubmitted)) == (0, 20)
    assert await house.store.count() == 6
    assert (await swept(house)).clean


async def test_rows_under_a_name_that_cannot_be_ours_are_deleted(house):
    row = await stored(house, "one.md")
    key = doc_key("docs", "gone.md")
    await house.store.upsert([dataclasses.replace(row, id=row_id(key, "b" * 26, 1), doc_key=key)])
    changes = len(house.changes.appended)
    found = await swept(house)

    assert (found.unknown, found.held) == (1, 0)
    assert len(house.changes.appended) == changes
    assert (await swept(house)).clean


async def test_a_document_that_comes_to_be_known_meanwhile_is_not_removed(house):
    await orphans(house)
    before = len(house.changes.appended)

    class Busy(type(house.store)):
        looks = 0

        async def holdings(self, buckets):
            self.looks += 1
            if self.looks == 2:
                await house.write("gone0.md", "# Back\n\nit is back\n")
            return await house.store.holdings(buckets)

    busy = Busy(64)
    busy._rows, busy._stamps = house.store._rows, house.store._stamps
    found = await sweep_of(house, store=busy)(batch_size=0)
    await house.work()

    assert (found.unknown, found.resubmitted) == (1, {})
    assert [change.op for change in house.changes.appended[before:]] == ["upserted"]
    assert "it is back" in await house.search("it is back")


# -- how it goes about it --------------------------------------------------------------------------


async def test_a_dry_run_changes_nothing(house):
    house.store.lose((await row_ids(house, "two.md"))[:1])
    await orphans(house)
    before = len(house.changes.appended), await house.store.count()

    found = await swept(house, dry_run=True)

    assert (found.missing, found.unknown, found.resubmitted, found.dry_run) == (1, 1, {}, True)
    assert (len(house.changes.appended), await house.store.count()) == before


async def test_a_row_that_is_cleaned_between_two_looks_was_no_difference(house):
    row = await stored(house, "two.md")
    extra = dataclasses.replace(row, id=row_id(row.doc_key, "x" * 26, row.born), chunk_key="x" * 26)
    await house.store.upsert([extra])

    class Cleaned(type(house.store)):
        async def holdings(self, buckets):
            found = await house.store.holdings(buckets)
            house.store.lose([extra.id])
            return found

    busy = Cleaned(64)
    busy._rows, busy._stamps = house.store._rows, house.store._stamps

    assert (await sweep_of(house, store=busy)(batch_size=0)).clean


async def test_repairs_are_awaited_in_batches(house):
    for n in range(9):
        await house.write(f"more{n}.md", TEXT.format(name=f"n{n}"))
    await house.work()
    for row in list(house.store._rows):
        house.store.lose([row])
    before, most = len(house.changes.appended), 0

    async def work():
        nonlocal most
        while True:
            await asyncio.sleep(0)
            most = max(most, len(house.changes.appended) - house._read)
            await house.work()

    working = asyncio.create_task(work())
    found = await sweep_of(house)(batch_size=3)
    working.cancel()

    assert (found.processed, found.failed, len(found.resubmitted)) == (12, 0, 12)
    assert len(house.changes.appended) == before + 12
    assert most <= 6


async def test_when_nobody_works_it_ends_all_the_same(house):
    for name in NAMES:
        house.store.lose(await row_ids(house, name))
    sweep = sweep_of(house, limits=SweepLimits(second_look_s=0, give_up_s=0.0))

    found = await sweep(batch_size=1)

    assert (found.processed, found.failed) == (0, 0)
    assert len(found.resubmitted) + found.unsent == len(NAMES)
    assert found.unsent > 0


async def test_a_repair_that_fails_is_counted(house):
    house.store.lose((await row_ids(house, "two.md"))[:1])

    async def fail_it():
        while len(house.changes.appended) == 3:
            await asyncio.sleep(0)
        await give_up(house, "two.md")

    failing = asyncio.create_task(fail_it())
    found = await sweep_of(house)(batch_size=10)
    await failing

    assert (found.processed, found.failed) == (0, 1)
    assert found.needs_you
