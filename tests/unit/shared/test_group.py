"""Calls that are under way together go together, and nothing else of them is shared."""

import asyncio
from contextvars import ContextVar

import pytest

from shared.domain.errors import BusUnavailable
from shared.group import ROWS, Group, Size

WHO = ContextVar("WHO", default="nobody")


class Asked:
    """Answers when it is let, and notes what it was asked together."""

    def __init__(self):
        self.calls, self.let = [], asyncio.Event()
        self.error, self.who = None, set()

    async def __call__(self, calls):
        self.calls.append(list(calls))
        self.who.add(WHO.get())
        await self.let.wait()
        if self.error:
            raise self.error
        return [len(self.calls)] * len(calls)


@pytest.fixture
def asked():
    return Asked()


@pytest.fixture
def group(asked):
    return Group(asked, lambda call: Size(len(call)))


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


async def test_calls_that_come_while_one_is_under_way_go_together(asked, group):
    calls = [asyncio.create_task(group((f"{n}",))) for n in range(3)]
    await until(lambda: asked.calls)
    calls += [asyncio.create_task(group((f"{n}",))) for n in range(3, 6)]
    await until(lambda: len(group._waiting) == 3)
    asked.let.set()

    assert await asyncio.gather(*calls) == [1, 1, 1, 2, 2, 2]
    assert asked.calls == [[("0",), ("1",), ("2",)], [("3",), ("4",), ("5",)]]


async def test_a_group_is_bounded_and_one_call_is_never_split(asked, group):
    asked.let.set()
    large = [f"{n}" for n in range(ROWS + 1)]

    await asyncio.gather(group(["a"]), group(large), group(["b"]), group(["c"]))

    assert asked.calls == [[["a"]], [large], [["b"], ["c"]]]


async def test_what_the_group_raises_reaches_its_callers_and_no_other(asked, group):
    asked.let.set()
    asked.error = BusUnavailable("away")
    failed = await asyncio.gather(group("a"), group("b"), return_exceptions=True)
    asked.error = None

    assert [type(error) for error in failed] == [BusUnavailable] * 2
    assert await group("c") == 2


async def test_a_caller_that_is_cancelled_takes_no_other_along(asked, group):
    gone, stays, waits = (asyncio.create_task(group(key)) for key in "abc")
    await until(lambda: asked.calls)
    later = asyncio.create_task(group("d"))
    await until(lambda: group._waiting)
    gone.cancel()
    later.cancel()
    asked.let.set()

    assert await asyncio.gather(stays, waits) == [1, 1]
    assert await group("e") == 2
    assert asked.calls == [["a", "b", "c"], ["e"]]
    assert (gone.cancelled(), later.cancelled()) == (True, True)


async def one_behind_the_other(asked, group):
    """A call under way, and one that waits for it."""
    call = asyncio.create_task(group("a"))
    await until(lambda: asked.calls)
    behind = asyncio.create_task(group("b"))
    await until(lambda: group._waiting)
    return call, behind


async def test_callers_end_when_what_asks_for_all_is_cancelled(asked, group):
    call, behind = await one_behind_the_other(asked, group)
    group._runner.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(asyncio.CancelledError):
        await behind


async def test_a_large_call_is_overtaken_by_express_ones_for_a_while_only(asked, monkeypatch):
    monkeypatch.setattr("shared.group.OVERTAKEN_S", 0.0)
    group = Group(asked, lambda call: Size(len(call)))
    first = asyncio.create_task(group("a"))
    await until(lambda: asked.calls)
    large = ["b"] * ROWS
    calls = [asyncio.create_task(group(large))]
    await until(lambda: group._waiting)
    calls += [asyncio.create_task(group(["c"], express=True)) for _ in range(3)]
    await until(lambda: len(group._waiting) == 4)
    asked.let.set()
    await asyncio.gather(first, *calls)

    assert asked.calls[1:] == [[large], [["c"]] * 3]


async def test_a_call_that_was_cancelled_inside_takes_none_of_the_next_along(asked, group):
    asked.error = asyncio.CancelledError()
    broken, behind = await one_behind_the_other(asked, group)
    asked.let.set()
    with pytest.raises(asyncio.CancelledError):
        await broken
    asked.error = None

    assert await group("c") >= 2
    assert len(asked.calls) >= 2
    await asyncio.gather(behind, return_exceptions=True)


async def test_a_call_without_a_result_is_an_error_of_its_group():
    async def forgets(calls):
        return []

    group = Group(forgets, lambda call: Size(len(call)))

    with pytest.raises(RuntimeError, match="0 results of 1 calls"):
        await group("a")


async def test_what_is_logged_for_a_group_belongs_to_no_caller(asked, group):
    asked.let.set()
    WHO.set("the first caller")
    await group("a")

    assert asked.who == {"nobody"}
