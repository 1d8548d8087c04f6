"""Many documents judged in one question, over memory ports: as one by one, and none by another."""

import asyncio
import hashlib
from base64 import b32encode

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_ledger import MemoryLedger
from memory_vector_cache import MemoryCache

from services.validator import validate as looking
from services.validator.observe import Observe
from services.validator.validate import Ask, Look, Looks
from shared.domain.errors import BusUnavailable, StoreUnavailable
from shared.domain.ids import cache_key, doc_key
from shared.domain.ordering import Pending, Record, RowRef, Settled
from shared.ports import Row
from shared.stores.memory import MemoryStore

AT = 1_700_000_000.0


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(looking, "PAUSES_S", (0.001, 0.001))


def direction(n: int) -> np.ndarray:
    vector = np.zeros(64, np.float32)
    vector[n % 64] = 1
    return vector


class Index:
    """Ledger, store and cache, and how often the store was asked for the rows of how many."""

    def __init__(self) -> None:
        self.ledger, self.store, self.cache = MemoryLedger(), MemoryStore(64), MemoryCache()
        self.asked: list[int] = []
        self.told: list[set[str]] = []
        self._ids, self.store.ids = self.store.ids, self._counted
        self.look = self.fresh()

    def fresh(self) -> Looks:
        observe = Observe("f", self.store, self.cache, 60.0)
        return Looks(self.ledger, observe, lambda records, _: self.told.append(set(records)))

    async def _counted(self, documents):
        self.asked.append(len(documents))
        await self.before(documents)
        return await self._ids(documents)

    async def before(self, documents) -> None:
        """What a test has happen to the store."""

    async def settle(self, n: int, *, rows=1, lost=0, extra=0, pending=False, spoilt=False) -> str:
        """A document of so many rows, of which some are lost, and some of nobody."""
        key, seq = doc_key("docs", f"{n}.md"), n + 1
        refs = [RowRef(chunk(f"{n} {row}"), seq) for row in range(rows + extra)]
        settled = Settled(seq, "indexed", tuple(refs[:rows]), AT, AT)
        later = Pending(seq + 1, "indexed", tuple(refs[rows:]), frozenset(), AT, AT)
        await self.ledger.update(
            key, Record("docs", f"{n}.md", settled, later if pending else None), expect=0
        )
        for row, ref in enumerate(refs[lost:]):
            text, vector = f"text {n} {row}", direction(n + row)
            await self.store.upsert(
                [
                    Row(
                        ref.id(key),
                        key,
                        "docs",
                        f"{n}.md",
                        seq,
                        ref.chunk_key,
                        "",
                        (),
                        text,
                        {},
                        vector,
                    )
                ]
            )
            wrong = direction(n + row + 1)
            await self.cache.put_many({cache_key("f", text): wrong if spoilt else vector})
        return key


def chunk(text: str) -> str:
    return b32encode(hashlib.sha256(text.encode()).digest()[:16]).decode().rstrip("=").lower()


async def together(index: Index, asks: list[Ask]) -> list[Look | BaseException]:
    return await asyncio.gather(*map(index.look, asks), return_exceptions=True)


STATES = st.fixed_dictionaries(
    {
        "rows": st.integers(0, 3),
        "lost": st.integers(0, 2),
        "extra": st.integers(0, 2),
        "pending": st.booleans(),
        "spoilt": st.booleans(),
    }
)


@given(states=st.lists(st.tuples(STATES, st.booleans()), min_size=1, max_size=8))
def test_what_is_judged_together_is_judged_as_alone(states):
    async def both() -> tuple[list, list]:
        index = Index()
        keys = [await index.settle(n, **state) for n, (state, _) in enumerate(states)]
        asks = [Ask(key, sample) for key, (_, sample) in zip(keys, states, strict=True)]
        asks.append(Ask("nobody"))
        alone = [await index.fresh()(ask) for ask in asks]
        index.asked.clear()
        grouped = await together(index, asks)
        assert index.asked == [len(states)]
        return grouped, alone

    grouped, alone = asyncio.run(both())

    assert grouped == alone


async def test_a_wrong_document_fails_its_own_verdict_and_no_other():
    index = Index()
    keys = [await index.settle(n, rows=2, lost=int(n == 3)) for n in range(8)]
    looks = await together(index, [Ask(key) for key in keys])

    assert [one.verdict.passed for one in looks] == [n != 3 for n in range(8)]


async def test_a_document_that_cannot_be_read_is_an_error_for_its_caller_only():
    index = Index()
    keys = [await index.settle(n) for n in range(8)]

    async def break_on_the_third(documents):
        if keys[3] in documents:
            raise ValueError("of the third")

    index.before = break_on_the_third
    looks = await together(index, [Ask(key) for key in keys])

    assert isinstance(looks[3], ValueError)
    assert all(one.verdict.passed for n, one in enumerate(looks) if n != 3)
    assert set().union(*index.told) == set(keys) - {keys[3]}


async def test_the_same_document_twice_is_one_question_and_two_answers():
    index = Index()
    key = await index.settle(1, rows=2)
    first, second = await together(index, [Ask(key), Ask(key, sample=True)])

    assert first == second
    assert index.asked == [1]
    assert second.verdict.self_query is True


async def test_a_store_that_is_away_for_a_moment_sends_nobody_back():
    index, answers = Index(), [StoreUnavailable("away"), StoreUnavailable("away"), None]
    keys = [await index.settle(n) for n in range(5)]

    async def away(documents):
        if error := answers.pop(0):
            raise error

    index.before = away
    looks = await together(index, [Ask(key) for key in keys])

    assert all(one.verdict.passed for one in looks)
    assert index.asked == [5, 5, 5]


async def test_a_store_that_stays_away_is_said_to_everybody_and_asked_for_all_at_once():
    index = Index()
    keys = [await index.settle(n) for n in range(5)]

    async def away(documents):
        raise StoreUnavailable("away")

    index.before = away
    looks = await together(index, [Ask(key) for key in keys])

    assert [type(one) for one in looks] == [StoreUnavailable] * 5
    assert set(index.asked) == {5}


async def test_a_bus_that_is_away_is_said_at_once(monkeypatch):
    index, asked = Index(), 0

    async def away(keys):
        nonlocal asked
        asked += 1
        raise BusUnavailable("away")

    monkeypatch.setattr(index.ledger, "get_many", away)
    looks = await together(index, [Ask("a"), Ask("b")])

    assert [type(one) for one in looks] == [BusUnavailable] * 2
    assert asked == 1


async def test_who_asks_during_a_reading_is_answered_by_the_next_one():
    index, reading, may_end = Index(), asyncio.Event(), asyncio.Event()
    key, other = await index.settle(1, rows=2, lost=1), await index.settle(2)

    async def slow(documents):
        reading.set()
        await may_end.wait()

    index.before = slow
    first = asyncio.create_task(index.look(Ask(key)))
    await reading.wait()
    later = asyncio.gather(index.look(Ask(key)), index.look(Ask(other)))
    await index.ledger.update(
        key, Record("docs", "1.md", Settled(9, "removed", (), AT, AT)), expect=1
    )
    may_end.set()
    before, (after, _) = await first, await later

    assert (before.record.settled.seq, after.record.settled.seq) == (2, 9)
    assert index.asked == [1, 2]


async def test_a_caller_that_leaves_takes_nobody_along():
    index = Index()
    keys = [await index.settle(n) for n in range(3)]
    tasks = [asyncio.create_task(index.look(Ask(key))) for key in keys]
    await asyncio.sleep(0)
    tasks[1].cancel()
    looks = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(looks[1], asyncio.CancelledError)
    assert looks[0].verdict.passed
    assert looks[2].verdict.passed
