"""Each rule of the order of work: a scenario that passes, and dies when the rule is taken out.

ARCHITECTURE.md names these tests. What random histories find is in `test_mutations.py`; here every
schedule is fixed, so that it also tells what the rule is for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import chaos_main
import numpy as np
import pytest
from house import SOURCE, House
from memory_change_log import MemoryChangeLog
from memory_content import MemoryContent
from memory_ledger import MemoryLedger
from mutations import altered, dies_without
from nats.aio.msg import Msg
from protocol_world import CONTENTS, KEY, World, with_parts_of

from services.embedder.embed import Embed
from services.enricher import parts
from services.enricher.enrich import Enrich
from services.indexer.index import Index
from services.producer.accept import AcceptFile
from services.producer.sources.port import Body, Version
from services.producer.submissions.intake import AcceptSubmission
from shared import repair
from shared.bus.delivery.consume import Consumer
from shared.bus.delivery.failure_notes import Ended
from shared.domain import ordering
from shared.domain.errors import MalformedEvent, PermanentError
from shared.domain.events import Batch, DocumentChanged, DocumentRemoved, EmbeddingsReady, PartRow
from shared.domain.ids import content_hash, doc_key, row_id
from shared.domain.ordering import (
    Failed,
    Reason,
    Revision,
    fail,
    is_over,
    is_pending,
    revise,
    settled_seq,
)
from shared.domain.submissions import stale
from shared.domain.topology import embed_stage
from shared.observe.progress import Progress
from shared.ports import Delivery
from shared.repair import resubmit
from shared.stores.memory import MemoryStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AGAIN = Delivery(1, attempt=2)
"""A delivery for which an embedder asks the ledger."""


def settled(world: World, content: str) -> None:
    """Submit a content and let everything end."""
    world.submit(content)
    world.settle_down()


def to_vectors(world: World) -> list[int]:
    """Bring the newest change through enricher and embedder; the numbers of its parts."""
    before = set(world.vectors)
    world.deliver("enrich").finish()
    world.tasks.clear()
    while world.chunks:
        world.deliver("embed").finish()
        world.tasks.clear()
    return sorted(set(world.vectors) - before)


def deliver(world: World, part: int) -> None:
    """Give a part to an indexer that nothing stops, and look at the world after each step."""
    task = world.deliver("index", part)
    while task.op is not None:
        world.step(task)
    world.tasks.clear()


@contextmanager
def parts_of_one_row() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        with_parts_of(1, patch)
        yield


# -- accept ----------------------------------------------------------------------------------------


def body(text: str) -> Body:
    data = text.encode()
    return Body(Version(len(data), 0, 0, 1), 0, content_hash(data), data, "file:///a")


class Overtaken(MemoryChangeLog):
    """Somebody else is faster: after the first question, `other` is appended."""

    def __init__(self, other: DocumentChanged) -> None:
        super().__init__()
        self.other: DocumentChanged | None = other

    async def newest(self, source, doc_key):
        found = await super().newest(source, doc_key)
        if self.other:
            other, self.other = self.other, None
            await self.append(other, expect=found.sequence if found else 0, message_id="other")
        return found

    @property
    def contents(self):
        return [change.content.data for change in self.appended]


async def change_of(text: str, **fields) -> DocumentChanged:
    house = House()
    await house.write("a.md", text)
    return house.changes.appended[0].model_copy(update=fields)


@dies_without(
    expected_sequence=altered(
        AcceptFile.__call__,
        (
            "expect = newest.sequence if newest else 0",
            "n = await self.changes.newest(self.source, key); expect = n.sequence if n else 0",
        ),
    ),
    read_again=altered(
        AcceptFile.__call__, ("body = await look()", "body = locals().get('body') or await look()")
    ),
)
async def test_a_file_that_somebody_else_has_read_later_never_follows_with_its_older_content():
    log = Overtaken(await change_of("newer"))
    states = [body("older"), body("newer")]

    async def look():
        return states.pop(0) if len(states) > 1 else states[0]

    batch = Batch(id="b", count=1, source=SOURCE, started_at=NOW)
    accept = AcceptFile(SOURCE, log, MemoryContent(), lambda: NOW)
    await accept("a.md", look, batch, known=True)

    assert log.contents == ["newer"]


@dies_without(
    intake=altered(AcceptFile._change, ("newest.change.intake if newest else 0", "0")),
    version=altered(
        AcceptFile._change, ("newest.change.source_version if newest else None", "None")
    ),
)
async def test_the_change_of_a_file_carries_what_older_submissions_are_told_by():
    log = MemoryChangeLog()
    await log.append(await change_of("one", intake=9, source_version=4), expect=0, message_id="1")

    async def look():
        return body("two")

    batch = Batch(id="b", count=1, source=SOURCE, started_at=NOW)
    await AcceptFile(SOURCE, log, MemoryContent(), lambda: NOW)("a.md", look, batch, known=True)

    assert (log.appended[-1].intake, log.appended[-1].source_version) == (9, 4)


async def submit(house: House, number: int, text: str, **fields) -> str:
    """Deliver submission `number` of a.md, as often as a test likes; what its receipt says."""
    house._intake = number - 1
    return (await house.submit(path="a.md", text=text, **fields)).state


def texts(house: House) -> list[str]:
    return [change.content.data for change in house.changes.appended]


@dies_without(number=altered(stale, ("return intake <= last.intake", "return False")))
async def test_a_submission_that_was_accepted_is_not_accepted_again_however_late():
    house = House()
    await submit(house, 1, "one")
    house.changes.end_duplicate_window()

    assert await submit(house, 1, "one") == "queued"
    assert texts(house) == ["one"]


@dies_without(number=altered(stale, ("return intake <= last.intake", "return False")))
async def test_an_older_submission_never_follows_a_newer_one():
    house = House()
    await submit(house, 2, "new")

    assert await submit(house, 1, "old") == "stale"
    assert texts(house) == ["new"]


@dies_without(
    version=altered(stale, ("return version < last.source_version", "return False")),
    carried=altered(
        AcceptSubmission._publish,
        ("known.source_version if version is None and known else version", "version"),
    ),
)
async def test_a_lower_version_of_the_publisher_never_follows_a_higher_one():
    house = House()
    await submit(house, 1, "five", source_version=5)
    await submit(house, 2, "no version")

    assert await submit(house, 3, "four", source_version=4) == "stale"
    assert texts(house) == ["five", "no version"]


FRESH_EXPECTATION = altered(
    AcceptSubmission._publish,
    (
        "sequence = await self.changes.append(",
        "last = await self.changes.newest(document.source, document.doc_key)\n"
        "            sequence = await self.changes.append(",
    ),
)


@dies_without(expected_sequence=FRESH_EXPECTATION)
async def test_a_submission_that_another_worker_overtakes_is_stale():
    house = House()
    newer = await change_of("new", intake=2)
    house._accept = type(house._accept)(**{**fields_of(house._accept), "changes": Overtaken(newer)})

    assert await submit(house, 1, "old") == "stale"
    assert house._accept.changes.contents == ["new"]


@dies_without(
    look_again=altered(
        AcceptSubmission._publish,
        (
            "except ChangeLogConflict:\n            continue",
            "except ChangeLogConflict:\n            sequence = 0",
        ),
    )
)
async def test_a_submission_that_lost_the_race_to_an_older_one_is_stored_all_the_same():
    house = House()
    older = await change_of("old", intake=1)
    house._accept = type(house._accept)(**{**fields_of(house._accept), "changes": Overtaken(older)})

    assert await submit(house, 2, "new") == "queued"
    assert house._accept.changes.contents == ["old", "new"]


def fields_of(value) -> dict:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


# -- enricher --------------------------------------------------------------------------------------


def overtaken_enricher(stop: str) -> tuple[World, int]:
    """An enricher of revision 2 is frozen before a call, and goes on when 3 is pending."""
    world = World()
    settled(world, "A")
    world.submit("E")
    frozen = world.deliver("enrich")
    frozen.run_until(stop)
    world.submit("C")
    world.deliver("enrich").finish()
    newest = world.sequence
    frozen.finish()
    return world, newest


@dies_without(
    order=altered(Enrich._is_over, ("seq < newest_seq(record) or ", "")),
    newest_is_pending=altered(
        ordering.newest_seq,
        ("record.pending or record.settled", "record.settled or record.pending"),
    ),
)
def test_an_older_change_never_takes_the_place_of_a_newer_one():
    world, newest = overtaken_enricher("ledger.get")

    assert world.current().pending.seq == newest


@dies_without(
    compare_and_set=altered(
        Enrich.__call__,
        (
            "expect=entry.at if entry else 0",
            "expect=getattr(await self.ledger.get(document.doc_key), 'at', 0)",
        ),
    )
)
def test_an_enricher_that_read_the_record_too_early_changes_nothing():
    world, newest = overtaken_enricher("prepare")

    assert world.current().pending.seq == newest


@dies_without(
    plan_again=altered(
        Enrich.__call__,
        (
            "except LedgerConflict:\n            continue",
            "except LedgerConflict:\n            pass",
        ),
    )
)
def test_an_enricher_whose_plan_came_too_late_makes_another_one():
    world = World()
    world.submit("A")
    [part] = to_vectors(world)
    world.submit("E")
    frozen = world.deliver("enrich")
    frozen.run_until("ledger.update")
    world.deliver("index", part).finish()

    frozen.finish()

    assert is_pending(world.current(), world.sequence)


@dies_without(settled=altered(Enrich._is_over, (" or seq == settled_seq(record)", "")))
def test_a_change_that_has_settled_is_not_planned_again():
    world = World()
    settled(world, "A")
    world.newest_acked = False
    world.deliver("enrich").finish()

    assert world.current().pending is None


@dies_without(
    publish_again=altered(
        Enrich.__call__,
        ("return self._follow(event, delivery, record.pending, prepared)", "return []"),
    )
)
def test_the_parts_of_an_enricher_that_died_are_published_by_the_next():
    world = World()
    world.submit("A")
    enricher = world.deliver("enrich")
    enricher.run_until("publish")
    world.crash(enricher)
    world.deliver("enrich").finish()

    assert len(world.chunks) == 1


@dies_without(
    compare=altered(
        parts.is_same_plan,
        ("tuple(row.chunk_key for row in pending.rows) == revision.keys", "True"),
    ),
    submit_again=altered(
        Enrich.__call__,
        (
            "await resubmit(\n                self.changes, document.source, document.doc_key,"
            " generation=self.generation\n            )",
            "pass",
        ),
    ),
)
def test_a_change_whose_content_is_another_at_its_second_delivery_becomes_a_new_revision():
    world = World()
    world.submit("A")
    enricher = world.deliver("enrich")
    enricher.run_until("publish")
    world.crash(enricher)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CONTENTS, "A", CONTENTS["F"])
        world.deliver("enrich").finish()

    assert world.history[-1] == (1002, "A", True)
    assert world.chunks == {}


@dies_without(
    empty_part=altered(
        parts.parts,
        (
            "return [EmbeddingsReady(document=document, batch=batch, generation=generation)]",
            "return []",
        ),
    )
)
def test_a_revision_with_nothing_to_write_has_one_empty_part():
    world = World()
    settled(world, "A")
    world.submit("D")
    world.deliver("enrich").finish()

    assert [part.rows for part in world.vectors.values()] == [()]


@dies_without(all=altered(parts.parts, ("if row in pending.todo]", "if row in pending.todo][:1]")))
def test_every_row_that_is_to_be_written_is_in_a_part():
    world = World()
    settled(world, "C")
    world.submit("F")
    to_vectors(world)

    [part] = world.vectors.values()
    assert [row.text for row in part.rows] == ["text 2", "text 3", "text 4"]


@dies_without(surely=altered(ordering.base, (" - record.pending.todo", "")))
def test_a_revision_carries_no_row_that_may_not_have_been_written():
    world = World()
    world.submit("E")
    world.deliver("enrich").finish()
    world.submit("F")
    world.deliver("enrich").finish()

    world.check()
    assert len(world.current().pending.todo) == 4


@dies_without(born=altered(ordering.revise, ("RowRef(key, revision.seq)", "RowRef(key, 0)")))
def test_a_chunk_that_left_and_came_back_is_another_row():
    """I2: an id is never used again, so a late delete takes nothing that is wanted."""
    world = World()
    settled(world, "A")
    world.submit("C")
    [part] = to_vectors(world)
    late = world.deliver("index", part)
    late.run_until("store.delete")
    world.tasks.clear()
    settled(world, "A")

    late.finish()

    world.check()
    world.check_end()


@dies_without(
    rows=altered(ordering.revise, ("rows = settled.rows if settled else ()", "rows = ()"))
)
def test_a_refusal_keeps_the_rows_of_the_last_good_version():
    world = World()
    settled(world, "A")
    settled(world, "X")

    assert sorted(row.text for row in world.store.values()) == ["text 1", "text 2"]


@dies_without(
    settled=altered(
        ordering.revise, ("settled=settled,\n        pending", "settled=None,\n        pending")
    )
)
def test_what_is_settled_stays_promised_while_another_revision_is_made():
    """I1 and I5."""
    world = World()
    settled(world, "A")
    before = world.current().settled
    world.submit("E")
    world.deliver("enrich").finish()

    assert world.current().settled == before


async def after_a_loss_of_docs(*versions: int | None) -> list[str]:
    """Texts that search finds when changes with these versions come straight into DOCS."""
    house = House()
    for n, version in enumerate(versions):
        newest = await house.changes.newest(SOURCE, doc_key(SOURCE, "a.md"))
        change = await change_of(f"zebra {n}", source_version=version)
        expect = newest.sequence if newest else 0
        await house.changes.append(change, expect=expect, message_id=str(n))
        await house.work()
    return await house.search("zebra")


@dies_without(
    dropped=altered(
        Enrich._is_over,
        ("not is_pending(record, seq) and is_stale_version(record, event.source_version)", "False"),
    ),
    carried=altered(ordering.revise, ("if version is None and record:", "if False:")),
)
async def test_a_lower_version_than_the_ledger_knows_is_dropped():
    assert await after_a_loss_of_docs(5, None, 4) == ["zebra 1"]


@dies_without(identity=altered(Enrich.__call__, ("check_identity(document)", "pass")))
async def test_a_change_under_the_key_of_another_document_is_refused():
    house = House()
    change = await change_of("text")
    document = change.document.model_copy(update={"path": "b.md"})

    with pytest.raises(MalformedEvent):
        await house._enrich(change.model_copy(update={"document": document}), Delivery(1))


# -- embedder --------------------------------------------------------------------------------------


async def a_part(house: House, text: str = "one"):
    await house.write("a.md", text)
    await house.enrich()
    return house.parts.popleft()


@dies_without(
    asked=altered(Embed.__call__, ("await self._is_over(part, delivery)", "False")),
    overtaken=altered(is_over, ("newest_seq(record) > seq or ", "")),
)
async def test_an_overtaken_part_is_dropped_before_the_model_reads_it():
    house = House()
    part = await a_part(house, "one")
    await a_part(house, "two")

    assert await house._embed(part, AGAIN) == []
    assert house.model.read == []


@dies_without(settled=altered(is_over, (" or settled_seq(record) == seq", "")))
async def test_a_part_of_a_settled_revision_is_dropped():
    house = House()
    part = await a_part(house)
    house.parts.append(part)
    await house.work()

    assert await house._embed(part, AGAIN) == []


@dies_without(
    unknown=altered(Embed._is_over, ("return is_over(", "return entry is None or is_over(")),
    older=altered(is_over, ("newest_seq(record) > seq", "newest_seq(record) != seq")),
)
async def test_a_record_that_is_lost_or_older_leaves_out_no_work():
    """I8: a replica that lags may answer an embedder."""
    house, older = House(), MemoryLedger()
    await house.write("a.md", "zero")
    await house.work()
    entry = await house.ledger.get(doc_key(SOURCE, "a.md"))
    await older.update(doc_key(SOURCE, "a.md"), entry.record, expect=0)
    part = await a_part(house)
    for ledger in (MemoryLedger(), older):
        embed = Embed("gguide", ledger, house.cache, house.model, Progress())

        assert len(await embed(part, AGAIN)) == 1


@dies_without(cached=altered(Embed._vectors, ("await self.cache.put_many(fresh)", "pass")))
async def test_what_was_encoded_before_a_crash_is_not_encoded_again():
    house = House()
    part = await a_part(house)
    for _ in range(2):
        await house._embed(part, Delivery(1))

    assert house.model.read == ["one"]


@dies_without(
    length=altered(Embed.__call__, ("block.shape[1] != self.encoder.dimensions", "False"))
)
async def test_vectors_of_another_length_are_passed_on_to_nobody():
    house = House()
    part = await a_part(house)
    await house._embed(part, Delivery(1))
    house.model.dimensions = 65

    with pytest.raises(PermanentError):
        await house._embed(part, Delivery(1))


# -- indexer ---------------------------------------------------------------------------------------


@dies_without(
    read=altered(Index._known, (" or newest_seq(entry.record) < part.document.revision", ""))
)
def test_a_part_of_a_revision_that_the_ledger_does_not_know_waits():
    """I7: acknowledged, it would be the last that was heard of the revision."""
    world = World()
    settled(world, "A")
    before = world.record
    world.submit("E")
    [part] = to_vectors(world)
    world.record = before

    world.deliver("index", part).finish()

    assert part in world.vectors
    assert len(world.store) == 2


@dies_without(
    listed=altered(
        Index._write,
        ("frozenset(rows) & entry.record.pending.todo", "frozenset(rows)"),
    )
)
def test_rows_that_the_ledger_does_not_list_are_not_written():
    """I6: nobody would ever account for them."""
    world = World()
    world.submit("A")
    [part] = to_vectors(world)
    event = world.vectors[part]
    rows = [
        row.model_copy(update={"born": 7, "id": row_id(KEY, row.chunk_key, 7)})
        for row in event.rows
    ]
    world.vectors[part] = event.model_copy(update={"rows": tuple(rows)})
    world.deliver("index", part).finish()

    assert world.store == {}


WRITE = "await self.store.upsert([rows[ref] for ref in sorted(mine - wrote)])"


@dies_without(
    order=altered(
        Index._write,
        (WRITE, "pass"),
        ("self.progress.rows_written += len(mine)", WRITE),
    )
)
def test_rows_are_accounted_for_after_they_were_written():
    world = World()
    world.submit("A")
    [part] = to_vectors(world)

    deliver(world, part)


def overtaken_indexer(stop: str) -> World:
    """The only indexer of revision 1 is frozen before a call while 2 becomes pending."""
    world = World()
    world.submit("A")
    [part] = to_vectors(world)
    frozen = world.deliver("index", part)
    frozen.run_until(stop)
    if stop == "publish":
        frozen.step()
    world.submit("E")
    world.deliver("enrich").finish()

    frozen.finish()

    return world


STALE = "at = await self.ledger.update(part.document.doc_key, record, expect=entry.at)"
BLIND = (
    "at = await self.ledger.update(part.document.doc_key, record,"
    " expect=(await self.ledger.get(part.document.doc_key)).at)"
)


@dies_without(compare_and_set=altered(Index._write, (STALE, BLIND)))
def test_an_indexer_that_was_overtaken_while_it_wrote_accounts_for_nothing():
    assert overtaken_indexer("store.upsert").current().pending.seq == 1002


@dies_without(compare_and_set=altered(Index._finish, (STALE, BLIND)))
def test_an_indexer_that_was_overtaken_while_it_confirmed_settles_nothing():
    world = overtaken_indexer("publish")

    assert world.current().pending.seq == 1002
    assert world.current().settled is None


@dies_without(
    second_look=altered(
        Index.__call__,
        (
            "except LedgerConflict:\n            entry = await self._known(part)",
            "except LedgerConflict:\n            return []",
        ),
    ),
    record_of_before=altered(
        Index.__call__,
        (
            "except LedgerConflict:\n            entry = await self._known(part)",
            "except LedgerConflict:\n            break",
        ),
    ),
    clean=altered(Index.__call__, ("return await self._clean(part, entry.record)", "return []")),
)
def test_a_worker_that_was_overtaken_cleans_up_by_a_record_read_after_its_write():
    """I6."""
    world = World()
    world.submit("C")
    [part] = to_vectors(world)
    zombie = world.deliver("index", part)
    zombie.run_until("store.upsert")
    world.tasks.clear()
    settled(world, "D")
    settled(world, "C")

    zombie.finish()

    world.check_end()


@dies_without(todo=altered(Index.__call__, ("if entry.record.pending.todo:", "if False:")))
def test_a_part_does_not_wait_for_its_sisters():
    with parts_of_one_row():
        world = World()
        world.submit("E")
        first, _ = to_vectors(world)
    deliver(world, first)

    assert first not in world.vectors
    assert world.current().settled is None


@dies_without(rows=altered(ordering.written, ("pending.todo - frozenset(rows)", "frozenset()")))
def test_a_part_accounts_for_its_own_rows_only():
    with parts_of_one_row():
        world = World()
        world.submit("E")
        first, _ = to_vectors(world)
    deliver(world, first)

    assert len(world.current().pending.todo) == 1


@dies_without(
    confirm=altered(Index._finish, ("if missing:", "if False:")),
    all_rows=altered(
        Index._finish,
        ("pending.rows, rows)", "[ref for ref in pending.rows if ref in rows], rows)"),
    ),
)
def test_a_revision_settles_when_all_of_its_rows_are_found_not_only_those_of_the_last_part():
    """I5, P4."""
    with parts_of_one_row():
        world = World(lag=True)
        world.submit("E")
        first, second = to_vectors(world)
    deliver(world, first)
    of_the_first = set(world.hidden)
    task = world.deliver("index", second)
    task.run_until("store.unsearchable")
    world.hidden = of_the_first
    task.finish()

    world.check()
    assert world.announced == set()
    assert world.current().settled is None


ANNOUNCE = "await self.publish(self._indexed(part, entry.record))"


@dies_without(
    order=altered(
        Index._finish,
        (ANNOUNCE, "pass"),
        ("self._count(part, entry.record, record)", ANNOUNCE),
    )
)
def test_what_is_settled_was_announced_before():
    world = World()
    world.submit("A")
    [part] = to_vectors(world)
    worker = world.deliver("index", part)
    while settled_seq(world.current()) == 0:
        worker.step()
    world.crash(worker)

    world.settle_down()


@dies_without(
    order=altered(
        Index._finish,
        (ANNOUNCE, ANNOUNCE + "; await self._clean(part, settle(entry.record, now=0.0))"),
    )
)
def test_the_last_version_is_cleaned_up_after_the_new_one_is_settled():
    """I5."""
    world = World()
    settled(world, "A")
    world.submit("E")
    [part] = to_vectors(world)

    deliver(world, part)


@dies_without(told=altered(Index._clean, ('settled.outcome == "removed"', "False")))
async def test_a_removal_is_told_when_no_row_is_left():
    house = House()
    await house.write("a.md", "one")
    await house.work()
    await house.delete("a.md")
    await house.work()

    assert [type(event) for event in house.results][-1] is DocumentRemoved
    assert await house.store.count() == 0


def forged(**fields) -> EmbeddingsReady:
    """The only part of revision 7 of a.md, with some fields changed."""
    row = PartRow(id=row_id(KEY, "a" * 26, 7), chunk_key="a" * 26, born=7, text="text")
    rows = fields.get("rows", (row,))
    about = {"source": "docs", "path": "a.md", "doc_key": KEY, "revision": 7, "changed_at": NOW}
    given = {
        "document": about,
        "batch": {"id": "b", "count": 1, "source": "docs", "started_at": NOW},
        "generation": "g1",
        "rows": rows,
        "fingerprint": "model",
        "dims": 4,
        "count": len(rows),
        "vectors": EmbeddingsReady.pack(np.ones((len(rows), 4), np.float32)),
    }
    return EmbeddingsReady(**given | fields)


async def indexer() -> Index:
    async def publish(event):
        pass

    ledger = MemoryLedger()
    revision = Revision(7, "indexed", ("a" * 26,), 0.0)
    await ledger.update(KEY, revise(None, revision, source="docs", path="a.md", now=0), expect=0)
    return Index("g1", "model", ledger, MemoryStore(4), publish, lambda: NOW, Progress())


@dies_without(fingerprint=altered(Index._rows, ("part.fingerprint != self.fingerprint", "False")))
async def test_vectors_of_another_model_are_not_written():
    index = await indexer()
    with pytest.raises(PermanentError):
        await index(forged(fingerprint="other"), Delivery(1))


@dies_without(
    key=altered(
        Index._rows, ("doc_key(document.source, document.path) != document.doc_key", "False")
    )
)
async def test_rows_under_the_path_of_another_document_are_not_written():
    index = await indexer()
    other = {"source": "docs", "path": "b.md", "doc_key": KEY, "revision": 7, "changed_at": NOW}
    with pytest.raises(MalformedEvent):
        await index(forged(document=other), Delivery(1))


@dies_without(
    parts_of_the_id=altered(
        Index._rows,
        (
            "any(row.id != row_id(document.doc_key, row.chunk_key, row.born) for row in part.rows)",
            "False",
        ),
    )
)
async def test_a_row_whose_id_is_not_made_of_its_parts_is_not_written():
    """I2."""
    index = await indexer()
    row = PartRow(id=row_id(KEY, "b" * 26, 7), chunk_key="a" * 26, born=7, text="text")
    with pytest.raises(MalformedEvent):
        await index(forged(rows=(row,)), Delivery(1))


# -- clean -----------------------------------------------------------------------------------------


@dies_without(born=altered(Index._clean, ("newest_seq(record)", "2**53")))
def test_a_late_clean_takes_nothing_that_a_later_revision_wrote():
    """I4: a worker of revision 1 is frozen right before it asks for the rows to be deleted."""
    world = World()
    world.submit("C")
    [part] = to_vectors(world)
    late = world.deliver("index", part)
    late.run_until("store.ids")
    world.tasks.clear()
    settled(world, "E")

    late.finish()

    world.check()
    assert len(world.store) == 2


@dies_without(
    pending=altered(ordering.keep, (" | frozenset(pending)", "")),
    settled=altered(ordering.keep, ("frozenset(settled) | ", "")),
)
def test_clean_keeps_what_is_settled_and_what_is_pending():
    """I3, I4."""
    world = World()
    world.submit("C")
    [old] = to_vectors(world)
    repeated = world.vectors[old]
    world.settle_down()
    with parts_of_one_row():
        world.submit("E")
        first, _ = to_vectors(world)
    deliver(world, first)
    world.enqueue(repeated)

    deliver(world, max(world.vectors))

    assert len(world.store) == 2


@dies_without(delete=altered(Index._clean, ("if extra:", "if False:")))
def test_rows_that_no_version_needs_are_deleted():
    world = World()
    settled(world, "A")
    settled(world, "E")

    assert sorted(row.text for row in world.store.values()) == ["text 3", "text 4"]


# -- repair, and what is for all -------------------------------------------------------------------


@dies_without(
    mark=altered(repair.resubmit_newest, ('"repair": generation, ', "")),
    heard=altered(parts.revision_of, ("generation in event.repaired", "False")),
    anew=altered(ordering.revise, ("{} if revision.repair else ", "")),
)
def test_a_repair_writes_every_row_anew():
    world = World()
    settled(world, "A")
    world.lose_row()
    world.resubmit()
    world.deliver("enrich").finish()

    assert len(world.current().pending.todo) == 2


@dies_without(
    generation=altered(parts.revision_of, ("generation in event.repaired", "bool(event.repaired)"))
)
def test_the_repair_of_another_generation_writes_nothing_anew():
    world = World()
    settled(world, "A")
    newest = world.newest_change
    world._append(newest.model_copy(update={"repair": "another"}))
    world.deliver("enrich").finish()

    assert world.current().pending.todo == frozenset()


@dies_without(
    expected_sequence=altered(
        repair.resubmit_newest,
        (
            "expect=newest.sequence",
            "expect=(await log.newest(copy.document.source, copy.document.doc_key)).sequence",
        ),
    )
)
async def test_a_repair_never_takes_the_place_of_a_newer_change():
    log = MemoryChangeLog()
    await log.append(await change_of("one"), expect=0, message_id="1")
    overtaken = Overtaken(await change_of("two"))
    overtaken._newest, overtaken._next = log._newest, log._next

    assert await resubmit(overtaken, SOURCE, doc_key(SOURCE, "a.md"), generation="g1") is None
    assert overtaken.contents == ["two"]


@dies_without(
    overtaken=altered(fail, ("newest_seq(record) > failed.seq or ", "")),
    settled=altered(fail, (" or settled_seq(record) == failed.seq", "")),
)
def test_a_failure_says_nothing_about_a_revision_that_is_over():
    record = None
    for seq in (1, 2):
        revision = Revision(seq, "removed", (), 0.0)
        record = ordering.settle(revise(record, revision, source="s", path="p", now=0), now=0)
    for seq in (1, 2):
        assert fail(record, Failed(seq, "embed", Reason("c", "t")), source="s", path="p") is None


class Lagging(MemoryLedger):
    """As a replica that has not heard of the last change yet answers questions about many."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict = {}

    async def update(self, doc_key, record, *, expect):
        before = await self.get(doc_key)
        at = await super().update(doc_key, record, expect=expect)
        self.before |= {doc_key: before.record} if before else {}
        return at

    async def get_many(self, doc_keys):
        return {key: self.before[key] for key in doc_keys if key in self.before}


@dies_without(
    leader=altered(
        Index._known,
        (
            "entry = await self.ledger.get(part.document.doc_key)",
            "many = await self.ledger.get_many([part.document.doc_key])\n"
            "    entry = Entry(many[part.document.doc_key], 1)",
        ),
    ),
)
async def test_an_indexer_decides_by_the_record_of_the_leader():
    """I8: an older record does not know the revision."""
    index = await indexer()
    ledger = Lagging()
    older = revise(None, Revision(6, "removed", (), 0.0), source="docs", path="a.md", now=0)
    newer = (await index.ledger.get(KEY)).record
    at = await ledger.update(KEY, older, expect=0)
    await ledger.update(KEY, newer, expect=at)
    index = Index("g1", "model", ledger, index.store, index.publish, index.now, Progress())
    await index(forged(), Delivery(1))

    assert settled_seq((await ledger.get(KEY)).record) == 7


def acknowledged_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Consumer, "_handle", Consumer._handle)  # so that it is put back
    chaos_main.ack_before_publish()


@dies_without(order=acknowledged_first)
async def test_a_message_is_acknowledged_after_what_follows_from_it_is_stored():
    """I7."""
    done = []

    async def handle(event, delivery):
        return ["follows"]

    async def publish(event):
        done.append(event)

    async def acknowledge():
        done.append("acknowledged")

    consumer = Consumer(embed_stage("g1"), lambda message: message, handle, print)
    consumer._publish = publish
    consumer._suspicion = consumer._troubles = None
    consumer._ended = Ended()
    reply = "$JS.ACK.CHUNKS.embedder_g1.1.7.7.1767225600000000000.0"
    message = Msg(_client=None, subject="s", reply=reply, data=b"", headers={})
    message.ack = acknowledge
    await consumer.on_message(message)

    assert done == ["follows", "acknowledged"]
