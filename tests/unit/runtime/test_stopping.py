"""A stop ends every task, also one whose first cancellation was swallowed on the way."""

import asyncio

from services.host import wiring


async def test_a_task_that_loses_its_cancellation_is_cancelled_again(monkeypatch):
    monkeypatch.setattr(wiring, "AGAIN_S", 0.01)
    lost, running = [], asyncio.Event()

    async def losing():
        while True:
            try:
                running.set()
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                if len(lost) == 2:
                    raise
                lost.append(True)

    both = [asyncio.create_task(losing()), asyncio.create_task(asyncio.sleep(600))]
    await running.wait()
    await wiring.cancel_all(both)

    assert all(task.cancelled() for task in both)
    assert len(lost) == 2


async def test_nothing_to_end_is_no_error():
    await wiring.cancel_all([])
