"""The protocol with one rule taken away must break: if it does not, the histories prove nothing.

Names m01 to m10 are those of the model checker's cases. Each history that breaks is found by a
fixed sequence of seeds, so a failure here is repeatable.
"""

import random
from collections.abc import Callable, Sequence

import chaos_main
import pytest
from protocol_world import GENERATION, Broken, World, with_parts_of

from services.enricher.enrich import Enrich
from services.indexer import index
from services.indexer.index import Index
from shared.domain import ids, ordering
from shared.domain.errors import LedgerConflict
from shared.domain.events import DocumentIndexed
from shared.ports import Entry

Fault = Callable[[World], None]


def breaks(
    make: Callable[[], World],
    scripts: Sequence[str],
    *,
    fault: Fault | None = None,
    histories: int = 4000,
    first: int = 0,
) -> str:
    """How the first of many random histories breaks. Fails when none does.

    Args:
        first: where to begin, shortly before the first history that is known to break.
    """
    for seed in range(first, first + histories):
        chance = random.Random(seed)
        world = make()
        left = list(chance.choice(scripts))
        try:
            if fault:
                _some_steps(world, left, chance)
                if world.newest_change:
                    fault(world)
            world.play(left, chance.randbytes(250), limit=800)
        except (Broken, AssertionError) as found:
            return str(found) or type(found).__name__
    raise AssertionError(f"{histories} histories and none broke")


def _some_steps(world: World, left: list[str], chance: random.Random) -> None:
    world.wander(left, chance.randbytes(chance.randint(0, 60)))


@pytest.mark.slow
def test_the_unmutated_protocol_survives_the_same_search():
    with pytest.raises(AssertionError, match="none broke"):
        breaks(lambda: World(lag=True), ["ACA", "AXB", "ED", "FBF"], histories=400)


@pytest.mark.slow
def test_m01_ids_of_content_alone(monkeypatch):
    by_content = ids.row_id
    for module in (ordering, index):
        monkeypatch.setattr(module, "row_id", lambda doc, key, born: by_content(doc, key, 0))

    assert breaks(World, ["ACA", "CDC", "ACAC"], first=240)


@pytest.mark.slow
def test_m03_no_second_look_at_the_ledger_after_the_upsert(monkeypatch):
    """With the very indexer that `make chaos MUTATION=no-second-look` runs."""
    monkeypatch.setattr(Index, "__call__", Index.__call__)  # so that it is put back
    chaos_main.no_second_look()

    assert breaks(World, ["AB", "AC", "ED"], first=900)


def test_m04_settle_without_confirm():
    class Hasty(Index):
        async def _finish(self, part, rows, entry, delivery):
            await self.publish(self._indexed(part, entry.record))
            record = ordering.settle(entry.record, now=0.0)
            return Entry(
                record, await self.ledger.update(part.document.doc_key, record, expect=entry.at)
            )

    assert "not searchable" in breaks(lambda: World(index_class=Hasty, lag=True), ["A", "AB"])


def test_m05_announce_after_settling():
    class Late(Index):
        async def _finish(self, part, rows, entry, delivery):
            announcement = self._indexed(part, entry.record)
            held = []

            async def hold(event):
                held.append(event)

            quiet = Index(
                GENERATION, self.fingerprint, self.ledger, self.store, hold, self.now, self.progress
            )
            after = await Index._finish(quiet, part, rows, entry, delivery)
            if held and isinstance(announcement, DocumentIndexed):
                await self.publish(announcement)
            return after

    assert "never announced" in breaks(lambda: World(index_class=Late), ["AB", "ABC"])


def test_m06_short_cut_for_a_deletion_that_finds_nothing_settled(monkeypatch):
    class ShortCut(Enrich):
        async def __call__(self, event, delivery):
            entry = await self.ledger.get(event.document.doc_key)
            nothing = entry is None or entry.record.settled is None
            if (
                event.op == "deleted"
                and nothing
                and not self._is_over(entry.record if entry else None, event)
            ):
                revision = ordering.Revision(event.document.revision, "removed", (), 0.0)
                record = ordering.settle(
                    ordering.revise(
                        entry.record if entry else None, revision, source="docs", path="a", now=0.0
                    ),
                    now=0.0,
                )
                try:
                    await self.ledger.update(
                        event.document.doc_key, record, expect=entry.at if entry else 0
                    )
                except LedgerConflict:
                    return await super().__call__(event, delivery)
                return []
            return await super().__call__(event, delivery)

    with_parts_of(1, monkeypatch)

    assert breaks(lambda: World(enrich_class=ShortCut, indexers=1), ["ED", "FD"])


def test_m07_a_refusal_as_a_mark_beside_what_is_pending():
    class Mark(Enrich):
        async def __call__(self, event, delivery):
            if event.content is not None and event.content.data == "X":
                return []
            return await super().__call__(event, delivery)

    assert breaks(lambda: World(enrich_class=Mark), ["AX", "BX"])


def test_m08_message_ids_that_name_the_work_swallow_parts_after_a_loss():
    def lose_and_read_again(world: World) -> None:
        world.lose_ledger()
        world.newest_acked = False

    assert breaks(
        lambda: World(ids_by_revision=True, indexers=1), ["A", "E"], fault=lose_and_read_again
    )


def test_m10_a_resubmission_that_is_no_repair_does_not_heal():
    def lose(world: World) -> None:
        world.settle_down([])
        if world.store:
            world.lose_row()
        world.resubmit()

    assert breaks(lambda: World(repair=False, indexers=1), ["A", "F"], fault=lose)


@pytest.mark.slow
def test_a_ledger_without_compare_and_set():
    assert breaks(lambda: World(cas=False), ["AB", "ACA", "ADA"], first=170)


def test_an_ack_before_the_publish():
    assert breaks(lambda: World(ack_first=True), ["A", "AB"])


ANY = ["ABC", "ADA", "ACAD", "EDE", "FBXF", "DEDA"]
"""Scripts that were not chosen for any mutation."""


def test_no_compare_and_set_breaks_whatever_the_documents_do():
    assert breaks(lambda: World(cas=False), ANY, first=90)


def test_an_ack_before_the_publish_breaks_whatever_the_documents_do():
    assert breaks(lambda: World(ack_first=True), ANY)
