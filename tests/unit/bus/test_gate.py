"""Who may be worked on beside whom."""

import asyncio

import pytest

from shared.bus.delivery import gate as gates
from shared.bus.delivery.gate import Gate


class Work:
    """Messages that go through a gate, each until it is let go."""

    def __init__(self):
        self.gate = Gate()
        self.inside, self.tasks, self._ends = [], {}, {}

    async def begin(self, name, *, alone=False):
        self._ends[name] = asyncio.Event()

        async def run():
            async with self.gate.through(alone=alone):
                self.inside.append(name)
                await self._ends[name].wait()
                self.inside.remove(name)

        self.tasks[name] = asyncio.create_task(run())
        await settled()

    async def end(self, name):
        self._ends[name].set()
        await self.tasks[name]
        await settled()


async def settled():
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def work():
    return Work()


async def test_messages_are_worked_on_side_by_side(work):
    for name in "abc":
        await work.begin(name)

    assert work.inside == ["a", "b", "c"]


async def test_one_that_is_alone_waits_for_those_inside_and_keeps_all_others_out(work):
    await work.begin("a")
    await work.begin("accused", alone=True)
    await work.begin("b")
    before = list(work.inside)
    await work.end("a")
    during = list(work.inside)
    await work.end("accused")

    assert (before, during, work.inside) == (["a"], ["accused"], ["b"])


async def test_two_that_are_alone_have_no_company_of_each_other(work):
    await work.begin("one", alone=True)
    await work.begin("two", alone=True)
    first = list(work.inside)
    await work.end("one")

    assert (first, work.inside) == (["one"], ["two"])


async def test_one_that_was_given_up_while_it_waited_keeps_nobody_out(work):
    await work.begin("a")
    await work.begin("accused", alone=True)
    work.tasks["accused"].cancel()
    await settled()
    await work.begin("b")

    assert work.inside == ["a", "b"]


async def test_one_that_hangs_holds_up_the_others_for_a_bounded_time(work, monkeypatch, eventually):
    monkeypatch.setattr(gates, "LONGEST_S", 0.05)
    await work.begin("hangs", alone=True)
    await work.begin("a")
    await eventually(lambda: "a" in work.inside)
    await work.begin("b")

    assert work.inside == ["hangs", "a", "b"]


async def test_one_that_would_be_alone_is_not_held_up_for_ever(work, monkeypatch, eventually):
    monkeypatch.setattr(gates, "LONGEST_S", 0.05)
    await work.begin("hangs")
    await work.begin("accused", alone=True)
    await eventually(lambda: "accused" in work.inside)
