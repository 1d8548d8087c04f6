"""How many queries Lance is asked at once, and what it is told before it is imported."""

import asyncio
import os

import pytest

from shared.domain.errors import QuestionRefused, StoreUnavailable
from shared.stores.lance import limits as lance_limits
from shared.stores.lance.limits import QuerySlots, queries_at_once


@pytest.mark.parametrize(("cores", "queries"), [(None, 2), (1, 2), (2, 2), (4, 4), (8, 8), (64, 8)])
def test_there_are_as_many_queries_as_cores_within_limits(cores, queries):
    assert queries_at_once(cores) == queries


async def test_no_more_queries_run_at_once():
    queries, running, most = QuerySlots(), 0, 0

    async def ask() -> None:
        nonlocal running, most
        async with queries.one():
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*(ask() for _ in range(50)))

    assert most == queries_at_once(os.cpu_count())


async def test_a_query_that_fails_leaves_its_place():
    queries = QuerySlots()
    for _ in range(20):
        with pytest.raises(StoreUnavailable):
            async with queries.one():
                raise OSError("gone")

    async with asyncio.timeout(60), queries.one():
        pass


@pytest.mark.parametrize(
    "said",
    [
        ValueError(
            "Invalid input, position is not found but required for phrase queries, try recreating "
            "the index with position"
        ),
        ValueError("Invalid input, Invalid input, invalid SQL predicate: Unterminated string"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    ],
)
async def test_a_question_that_lance_cannot_take_is_no_failure_of_the_store(said):
    queries = QuerySlots()

    with pytest.raises(QuestionRefused, match="cannot take this question"):
        async with queries.question():
            raise said
    with pytest.raises(StoreUnavailable):  # no person worded it
        async with queries.one():
            raise said


@pytest.mark.parametrize(
    "said",
    [
        ValueError("Table 'chunks' was not found"),
        ValueError("Invalid input, Schema error: No field named source."),
        RuntimeError("lance error: Not found: chunks.lance/_versions"),
        RuntimeError("lance error: LanceError(IO): Invalid range 0..4095 for object of 10 bytes"),
        OSError("No space left on device"),
        TimeoutError("timeout"),
    ],
)
async def test_a_store_that_fails_does_not_blame_the_question(said):
    with pytest.raises(StoreUnavailable):
        async with QuerySlots().question():
            raise said


def test_the_threads_of_a_call_are_limited_unless_somebody_said_otherwise(monkeypatch):
    monkeypatch.delenv("LANCE_IO_THREADS", raising=False)
    lance_limits.configure()
    ours = os.environ["LANCE_IO_THREADS"]
    monkeypatch.setenv("LANCE_IO_THREADS", "16")
    lance_limits.configure()

    assert ours == str(lance_limits.IO_THREADS)
    assert os.environ["LANCE_IO_THREADS"] == "16"
    assert lance_limits.IO_THREADS > 1  # with 1, Lance waits for itself
