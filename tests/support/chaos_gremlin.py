"""What goes wrong in a chaos run, by a timetable that the seed decides."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Coroutine
from typing import Any

from chaos_plan import NO_DISK, Act, Plan, Tally, acts
from chaos_processes import Disk, Server, Worker, Workers

FULL_FOR_S = 4.0
"""How long a disk stays full."""


class Gremlin:
    """Kills, stops and starves the processes; `run` returns when all of it is over and mended."""

    def __init__(
        self, plan: Plan, workers: Workers, server: Server, disks: list[Disk], tally: Tally
    ) -> None:
        self.chance = random.Random(f"gremlin {plan.seed}")
        self._plan, self._workers, self._server = plan, workers, server
        self._disks, self._tally = disks, tally
        self._slow: set[asyncio.Task[None]] = set()
        self._one_server = asyncio.Lock()

    async def run(self) -> None:
        started = time.monotonic()
        try:
            for act in acts(self._plan):
                await asyncio.sleep(max(0.0, started + act.at_s - time.monotonic()))
                await self._do(act)
        finally:
            await asyncio.gather(*self._slow)

    async def _do(self, act: Act) -> None:
        match act.kind:
            case "kill worker":
                self._kill_worker()
            case "kill server":
                self._later(self._kill_server())
            case "stop worker":
                self._later(self._stop_worker())
            case "fill disk":
                self._later(self._fill_disk())

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        self._slow.add(asyncio.create_task(work))

    def _kill_worker(self) -> None:
        worker = self._workers.some(self.chance.choice)
        if worker is not None:
            worker.kill()
            self._tally.counts["worker kills"] += 1

    async def _kill_server(self) -> None:
        async with self._one_server:
            await self._server.kill(away_s=self.chance.choice([0.0, 0.0, 1.0, 3.0]))
        self._tally.counts["server kills"] += 1

    async def _stop_worker(self) -> None:
        """Longer than `ack_wait`: others get its messages, and then it wakes."""
        worker = self._workers.some(self.chance.choice, "indexer", "embedder", "enricher")
        if worker is None:
            return
        process = worker.process
        assert process is not None
        worker.stopped = True
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(self._plan.ack_wait_s * 1.15)
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
        self._wake(worker)

    def _wake(self, worker: Worker) -> None:
        worker.stopped = False
        self._tally.counts["stops"] += 1

    async def _fill_disk(self) -> None:
        """No room for a while. A nats-server that could not write needs a person to start it."""
        disk = self.chance.choice([disk for disk in self._disks if disk.limited] or self._disks)
        if not disk.limited:
            self._tally.notes.append(NO_DISK)
            return
        async with self._one_server:
            await asyncio.to_thread(disk.fill)
            await asyncio.sleep(FULL_FOR_S)
            disk.free()
            if disk is self._disks[0]:
                await self._server.kill()
        self._tally.counts["full disks"] += 1
