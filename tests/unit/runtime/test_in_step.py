"""What `up` waits for before it says "in step", and what it does not serve with."""

from dataclasses import replace

import pytest

from services.gateway.status.status import EMPTY, Board, Observation, StageSeen, is_done, needs_you
from services.host import up
from services.host.wiring import check_fingerprint
from shared.bus.monitor.flow import StageFlow
from shared.bus.monitor.in_flight import is_behind
from shared.domain.errors import BusUnavailable, ModelMismatch, StoreMismatch
from shared.domain.ordering import Record, RowRef, Settled
from shared.generation import Generation
from shared.live import ANEW
from shared.observe.progress import SourceHealth
from shared.settings import Chunking


def stage(oldest_at: float | None, *, running: int = 0) -> StageFlow:
    return StageFlow("s", waiting=0, running=running, done=0, pulls=1, oldest_at=oldest_at)


def test_an_older_message_that_somebody_still_has_is_waited_for():
    assert is_behind([stage(None), stage(9.0, running=1)], since=10.0)


def test_what_came_later_is_not_waited_for():
    assert not is_behind([stage(None), stage(11.0, running=1)], since=10.0)


async def test_a_bus_that_is_away_for_a_moment_does_not_end_the_process(monkeypatch):
    monkeypatch.setattr(up, "RETRY_S", 0.0)
    refusals = [BusUnavailable("no answer")] * 2

    async def look():
        if refusals:
            raise refusals.pop()
        return "seen"

    assert await up._patiently(look) == "seen"


async def test_what_only_a_person_can_put_right_does(monkeypatch):
    async def look():
        raise StoreMismatch("another table")

    with pytest.raises(StoreMismatch):
        await up._patiently(look)


NOTHING_READ = Board({}, 0, {}, None, (), unreadable=1)


@pytest.mark.parametrize(
    ("board", "seen", "needs"),
    [
        (EMPTY, {}, False),
        (EMPTY, {"sources": {"docs": SourceHealth(problems={"a": "permission denied"})}}, False),
        (EMPTY, {"held": 1}, True),
        (EMPTY, {"sources": {"a": SourceHealth(), "b": SourceHealth("no such folder")}}, True),
        (NOTHING_READ, {}, True),
    ],
    ids=["nothing wrong", "a path", "a hold", "a folder", "a change that cannot be read"],
)
def test_in_step_is_said_where_the_index_follows_every_folder(board, seen, needs):
    assert needs_you(board, Observation(at=20.0, **seen)) is needs


@pytest.mark.parametrize(
    ("open_at", "seen", "done"),
    [
        (None, {}, True),
        (11.0, {}, True),
        (9.0, {}, False),
        (None, {"listed": False}, False),
        (None, {"stages": (StageSeen("indexer", 0, 1, "parts", oldest_at=9.0),)}, False),
        (None, {"stages": (StageSeen("embedder", 1, 0, "parts", oldest_at=11.0),)}, True),
        (None, {"stages": (StageSeen("validator", 1, 0, "results", oldest_at=9.0),)}, True),
        (None, {"watched_at": 9.0}, False),
    ],
    ids=["rest", "later", "earlier", "no listing", "a part", "a later one", "a verdict", "left"],
)
def test_up_waits_for_what_changed_before_and_for_nothing_later(open_at, seen, done):
    board = Board({}, 0, {}, open_at, ())

    assert is_done(board, Observation(at=20.0, **seen), since=10.0) is done


@pytest.mark.parametrize("named", ["", "by an older release"])
def test_a_model_that_is_not_the_one_of_the_index_is_refused(named):
    model = Generation("m", "f32", "found", 8, Chunking())
    same = replace(model, fingerprint=named, encoder="found") if named else model
    check_fingerprint("found", same)

    for other in ("another", named):
        with pytest.raises(ModelMismatch, match="not those that the index was built with") as no:
            check_fingerprint(other, same)
        assert f"bring those back, which keeps the index, or {ANEW}" in str(no.value)


def test_rows_of_inactive_documents_are_in_the_store_and_are_not_counted_as_searchable():
    rows = (RowRef("a" * 26, 1), RowRef("b" * 26, 1))
    active = Record("docs", "a.md", Settled(1, "indexed", rows, 1.0, 2.0))
    inactive = Record("docs", "b.md", replace(active.settled, is_active=False))
    count = up.Count()

    for record in (active, inactive):
        count.add(record)

    assert (count.documents, count.searchable) == (2, 1)
    assert (count.rows, count.chunks) == (4, 2)


@pytest.mark.parametrize(("in_store", "sweeps"), [(4, []), (3, ["swept"])])
async def test_at_the_start_all_rows_of_the_ledger_are_compared_with_the_store(
    monkeypatch, in_store, sweeps
):
    class Opened:
        async def store(self):
            return self

        async def count(self):
            return in_store

    swept = []

    async def sweep(opened, *, stuck_s):
        swept.append("swept")

    monkeypatch.setattr(up, "_sweep", sweep)

    await up._compare(Opened(), up.Count(documents=2, searchable=1, rows=4, chunks=2))

    assert swept == sweeps
