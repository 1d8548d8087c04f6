import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.host.wiring import Host
from shared import group
from shared.domain.errors import StoreUnavailable, VectorsRejected
from shared.generation import Generation
from shared.group import Rush, Size, fitting
from shared.observe.progress import Progress
from shared.ports import Digest, Probe, Row
from shared.settings import Chunking, Settings
from shared.stores.coalesce import CoalescingStore, agreeing_runs
from shared.stores.memory import MemoryStore
from shared.stores.registry import STORES

GOOD = np.array([1, 0], np.float32)
BAD = np.zeros(2, np.float32)


def row(key: str, vector=GOOD, text: str = "") -> Row:
    return Row(key, f"doc-{key}", "notes", "a.md", 1, key, "", (), text, {}, vector)


class Gated(MemoryStore):
    """Counts its calls and holds each until the test opens the gate."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.calls: list[tuple[str, int]] = []
        self.fails: Exception | None = None
        super().__init__(2, pause=self.gate.wait)

    async def upsert(self, rows: Sequence[Row]) -> None:
        self.calls.append(("upsert", len(rows)))
        await super().upsert(rows)
        if self.fails:
            raise self.fails

    async def delete(self, ids) -> None:
        self.calls.append(("delete", len(ids)))
        await super().delete(ids)

    async def ids(self, documents):
        self.calls.append(("ids", len(documents)))
        return await super().ids(documents)

    async def unsearchable(self, probes):
        self.calls.append(("unsearchable", len(probes)))
        return await super().unsearchable(probes)


@pytest.fixture
def inner() -> Gated:
    return Gated()


@pytest.fixture
def store(inner: Gated) -> CoalescingStore:
    return CoalescingStore(inner)


async def others_run() -> None:
    """Give everybody who can go on the turns to do so."""
    for _ in range(20):
        await asyncio.sleep(0)


def start(*calls) -> list[asyncio.Task]:
    return [asyncio.ensure_future(call) for call in calls]


async def test_a_lone_call_goes_at_once(inner, store):
    inner.gate.set()
    await store.upsert([row("a")])

    assert inner.calls == [("upsert", 1)]


async def test_calls_that_arrive_during_a_commit_share_the_next_one(inner, store):
    first = start(store.upsert([row("first")]))
    await others_run()
    others = start(*(store.upsert([row(str(n)), row(f"{n}b")]) for n in range(30)))
    await others_run()
    assert inner.calls == [("upsert", 1)]

    inner.gate.set()
    await asyncio.gather(*first, *others)

    assert inner.calls == [("upsert", 1), ("upsert", 60)]
    assert await inner.count() == 61


async def test_every_caller_gets_its_own_answer(inner, store):
    inner.gate.set()
    await store.upsert([row(str(n)) for n in range(10)])
    inner.calls.clear()

    lost = await asyncio.gather(*(store.unsearchable([Probe(str(n), GOOD)]) for n in range(5, 15)))
    found = await asyncio.gather(*(store.ids({f"doc-{n}": 1, "doc-0": 1}) for n in range(20)))
    await asyncio.gather(*(store.delete([str(n)]) for n in range(5)))

    assert lost == [frozenset()] * 5 + [{str(n)} for n in range(10, 15)]
    assert [set(one) for one in found] == [{f"doc-{n}", "doc-0"} for n in range(20)]
    assert [one[f"doc-{n}"] for n, one in enumerate(found)] == [
        {str(n)} if n < 10 else set() for n in range(20)
    ]
    assert inner.calls == [("unsearchable", 10), ("ids", 20), ("delete", 5)]


async def test_a_rejection_reaches_only_the_callers_it_names(inner, store):
    inner.gate.set()

    results = await asyncio.gather(
        store.upsert([row("a"), row("b")]),
        store.upsert([row("c"), row("d", BAD)]),
        store.upsert([row("e", BAD), row("f", BAD)]),
        store.upsert([row("g")]),
        return_exceptions=True,
    )

    assert inner.calls == [("upsert", 7)]
    assert [results[0], results[3]] == [None, None]
    assert isinstance(results[1], VectorsRejected)
    assert isinstance(results[2], VectorsRejected)
    assert (results[1].ids, results[2].ids) == ({"d"}, {"e", "f"})
    assert await inner.count() == 4


async def test_an_unavailable_store_is_everybodys_trouble_and_the_next_group_goes_on(inner, store):
    inner.gate.set()
    inner.fails = StoreUnavailable("no disk")

    results = await asyncio.gather(
        *(store.upsert([row(str(n))]) for n in range(4)), return_exceptions=True
    )
    inner.fails = None
    await store.upsert([row("later")])

    assert [type(result) for result in results] == [StoreUnavailable] * 4
    assert len(inner.calls) == 2


async def test_a_caller_cancelled_while_waiting_writes_nothing(inner, store):
    first = start(store.upsert([row("first")]))
    await others_run()
    cancelled, kept = start(store.upsert([row("gone")]), store.upsert([row("kept")]))
    await asyncio.sleep(0)
    cancelled.cancel()
    inner.gate.set()
    await asyncio.gather(*first, cancelled, kept, return_exceptions=True)

    assert cancelled.cancelled()
    assert inner.calls == [("upsert", 1), ("upsert", 1)]
    assert set(await inner.rows(["first", "gone", "kept"])) == {"first", "kept"}


async def test_a_caller_cancelled_during_the_commit_does_not_harm_the_others(inner, store):
    tasks = start(*(store.upsert([row(str(n))]) for n in range(3)))
    await others_run()
    tasks[1].cancel()
    inner.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(result) for result in results] == [
        type(None),
        asyncio.CancelledError,
        type(None),
    ]
    assert await inner.count() == 3


async def test_a_group_is_capped_by_rows_and_a_large_call_goes_alone(inner, store, monkeypatch):
    monkeypatch.setattr(group, "ROWS", 4)
    inner.gate.set()

    await asyncio.gather(
        *(
            store.upsert([row(f"{n}-{m}") for m in range(size)])
            for n, size in enumerate([2, 2, 9, 3, 2])
        )
    )

    assert inner.calls == [("upsert", 4), ("upsert", 9), ("upsert", 3), ("upsert", 2)]


async def test_a_group_is_capped_by_bytes(inner, store, monkeypatch):
    monkeypatch.setattr(group, "BYTES", 10_000)
    inner.gate.set()

    await asyncio.gather(*(store.upsert([row(str(n), text="x" * 1200)]) for n in range(4)))

    assert inner.calls == [("upsert", 2), ("upsert", 2)]


async def test_questions_that_disagree_about_a_document_are_asked_one_after_the_other(inner, store):
    inner.gate.set()
    await store.upsert([row("a")])
    inner.calls.clear()

    answers = await asyncio.gather(store.ids({"doc-a": 0}), store.ids({"doc-a": 1}))

    assert answers == [{"doc-a": frozenset()}, {"doc-a": {"a"}}]
    assert inner.calls == [("ids", 1), ("ids", 1)]


async def test_closing_waits_for_the_calls_under_way(inner, store):
    writing = start(store.upsert([row("a")]))
    await others_run()
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    assert not closing.done()

    inner.gate.set()
    await closing

    assert writing[0].done()


@given(st.lists(st.builds(Size, st.integers(0, 2000), st.integers(0, 2**24)), max_size=20))
def test_a_group_is_the_longest_run_that_fits_and_never_empty(sizes):
    count = fitting(sizes)

    def fits(n: int) -> bool:
        rows, size = sum(s.rows for s in sizes[:n]), sum(s.bytes for s in sizes[:n])
        return n <= 1 or (rows <= group.ROWS and size <= group.BYTES)

    assert fits(count)
    assert count == len(sizes) or (count >= 1 and not fits(count + 1))


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)), max_size=12))
def test_runs_keep_every_question_in_order_and_agree_within(calls):
    runs = agreeing_runs(calls)

    assert [call for run in runs for call in run] == calls
    for run in runs:
        assert run
        for key in "abc":
            assert len({call[key] for call in run if key in call}) <= 1


# -- during a load ---------------------------------------------------------------------------------


@pytest.fixture
def gathering(inner, monkeypatch) -> CoalescingStore:
    """A store that gathers until four calls wait; nothing else ends that within a test."""
    for name, value in {"RUSH": 3, "RUSH_S": 1e9, "COMPANY": 4, "SILENCE_S": 1e9}.items():
        monkeypatch.setattr(group, name, value)
    monkeypatch.setattr(group, "GLANCE_S", 0.0)
    inner.gate.set()
    return CoalescingStore(inner, gather_s=1e9)


async def rush(store, count=2) -> None:
    for n in range(count):
        await store.upsert([row(f"before {n}")])


async def test_fewer_calls_than_make_a_load_wait_for_nobody(inner, gathering):
    await rush(gathering)

    assert inner.calls == [("upsert", 1)] * 2


async def test_during_a_load_a_group_waits_for_company(inner, gathering):
    await rush(gathering)
    three = start(*(gathering.upsert([row(str(n))]) for n in range(3)))
    await others_run()
    before = inner.calls[2:]
    await gathering.upsert([row("the fourth")])
    await asyncio.gather(*three)

    assert before == []
    assert inner.calls[2:] == [("upsert", 4)]


async def test_a_group_waits_for_company_only_so_long(inner, gathering):
    gathering._upserts._gather_s = 0.01
    await rush(gathering)
    await asyncio.gather(*(gathering.upsert([row(str(n))]) for n in range(3)))

    assert inner.calls[2:] == [("upsert", 3)]


async def test_a_group_goes_when_no_more_calls_come(inner, gathering, monkeypatch):
    monkeypatch.setattr(group, "SILENCE_S", 0.01)
    await rush(gathering)
    await asyncio.gather(*(gathering.upsert([row(str(n))]) for n in range(3)))

    assert inner.calls[2:] == [("upsert", 3)]


async def test_who_has_waited_alone_does_not_wait_again(inner, gathering, monkeypatch):
    await rush(gathering)
    monkeypatch.setattr(group, "SILENCE_S", 0.0)
    await gathering.upsert([row("a")])
    monkeypatch.setattr(group, "SILENCE_S", 1e9)
    await rush(gathering)

    assert inner.calls == [("upsert", 1)] * 5


async def test_deletes_and_questions_never_wait_for_company(inner, gathering):
    for n in range(5):
        await gathering.delete([str(n)])
        await gathering.ids({f"doc-{n}": 1})

    assert len(inner.calls) == 10


def test_a_load_is_many_calls_in_a_short_time():
    slow, quick = Rush(), Rush()
    for n in range(20):
        slow.note(n * 1.01 * group.RUSH_S / (group.RUSH - 1))
        quick.note(n * 0.99 * group.RUSH_S / (group.RUSH - 1))
    last = quick._came[-1]

    assert not slow.is_on(slow._came[-1])
    assert quick.is_on(last)
    assert not quick.is_on(last + group.RUSH_S)
    assert not quick.is_over(last)
    assert quick.is_over(last + group.SILENCE_S)


async def test_rows_that_were_planned_and_never_written_delay_nobody(tmp_path):
    """Whole revisions are overtaken before that; and who plans may be another process."""
    host = Host(Settings(store={"kind": "memory"}), tmp_path, None, Progress(rows_planned=10_000))
    store = await host.generation(Generation("m", "f32", "f", 2, Chunking())).store()
    writing = start(store.upsert([row("a")]))
    await others_run()

    assert writing[0].done()


@pytest.mark.parametrize(
    ("kind", "rows_s"),
    [("memory", 0.75), ("lancedb", 0.75), ("weaviate", 0.025), ("pgvector", 0.025)],
)
async def test_rows_gather_less_for_a_server_than_for_an_embedded_store_and_cleaning_never(
    tmp_path, monkeypatch, kind, rows_s
):
    async def plain(settings, wanted):
        return MemoryStore(wanted.dimensions)

    monkeypatch.setattr("shared.stores.registry.STORES", {kind: replace(STORES[kind], open=plain)})
    host = Host(Settings(store={"kind": kind}), tmp_path, None, Progress())
    store = await host.generation(Generation("m", "f32", "f", 2, Chunking())).store()

    assert store._upserts._gather_s == rows_s
    assert store._deletes._gather_s == store._ids._gather_s == store._probes._gather_s == 0.0


async def test_a_sweep_asks_the_inner_store_itself_and_waits_for_no_group(inner, store):
    inner.gate.set()
    await store.upsert([row("a")])
    inner.gate.clear()
    waiting = start(store.upsert([row("b")]))
    await others_run()
    asked = []

    async def digests():
        asked.append("digests")
        return {"do": Digest(1, 0)}

    async def holdings(buckets):
        asked.append(buckets)
        return {}

    inner.digests, inner.holdings = digests, holdings

    assert await asyncio.gather(store.digests(), store.digests()) == [{"do": Digest(1, 0)}] * 2
    assert await asyncio.gather(store.holdings(["do"]), store.holdings(["aa"])) == [{}] * 2
    assert asked == ["digests", "digests", ["do"], ["aa"]]
    assert not waiting[0].done()

    inner.gate.set()
    await asyncio.gather(*waiting)


# -- express ---------------------------------------------------------------------------------------


async def test_what_is_express_ends_the_wait_for_company(inner, gathering, monkeypatch):
    monkeypatch.setattr(group, "EXPRESS_GATHER_S", 0.0)
    await rush(gathering)
    bulk = start(gathering.upsert([row("a")]), gathering.upsert([row("b")]))
    await others_run()
    before = inner.calls[2:]
    async with asyncio.timeout(60):
        await gathering.express().upsert([row("c")])
    await asyncio.gather(*bulk)

    assert before == []
    assert inner.calls[2:] == [("upsert", 3)]


async def test_what_is_express_goes_before_what_has_waited_longer(inner, store, monkeypatch):
    monkeypatch.setattr(group, "ROWS", 4)
    under_way = start(store.upsert([row("first")]))
    await others_run()
    bulk = start(*(store.upsert([row(f"{n}{k}") for k in range(4)]) for n in range(3)))
    express = start(store.express().upsert([row("express")]))
    await others_run()

    inner.gate.set()
    await asyncio.gather(*under_way, *express, *bulk)

    assert inner.calls == [("upsert", 1), ("upsert", 1), *[("upsert", 4)] * 3]


async def test_what_is_express_goes_in_the_order_it_came(inner, store, monkeypatch):
    monkeypatch.setattr(group, "ROWS", 2)
    side = store.express()
    under_way = start(store.upsert([row("first")]))
    await others_run()
    calls = start(*(side.upsert([row(f"{n}{k}") for k in range(n)]) for n in (1, 2, 1)))
    await others_run()

    inner.gate.set()
    await asyncio.gather(*under_way, *calls)

    assert inner.calls == [("upsert", n) for n in (1, 1, 2, 1)]


async def test_an_express_question_does_not_wait_for_another_one(inner, store):
    bulk = start(store.unsearchable([Probe("a", GOOD)]), store.ids({"doc-a": 1}))
    await others_run()
    express = start(
        store.express().unsearchable([Probe("b", GOOD)]), store.express().ids({"doc-b": 1})
    )
    await others_run()

    assert sorted(inner.calls) == [("ids", 1)] * 2 + [("unsearchable", 1)] * 2

    inner.gate.set()
    await asyncio.gather(*bulk, *express)


async def test_closing_a_store_waits_for_what_is_express(inner, store):
    asking = start(store.express().ids({"doc-a": 1}))
    await others_run()
    closing = start(store.close())
    await others_run()
    assert not closing[0].done()

    inner.gate.set()
    await asyncio.gather(*asking, *closing)
