"""A chaos run: `python -m chaos_run --seed 7 --documents 1000 --minutes 5`; see `make chaos`.

Exit status 0: nothing was wrong. Where the system allows it, the run has namespaces of its own, so
that no process and no mounted file system can stay behind.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any

from chaos_author import Author
from chaos_gremlin import Gremlin
from chaos_judge import Scene, judge, open_documents, orphans, unheard, wrong_documents
from chaos_plan import MUTATIONS, Plan, Tally
from chaos_processes import MODEL, Disk, Server, Workers
from chaos_scene import Watcher, check_search
from chaos_witness import Echo, Searcher
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from services.host.startup import wanted_generation
from shared.domain.errors import InstepError
from shared.settings import Embedding, Settings

ALONE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
QUIET_WITHIN_S = 240.0
"""And `QUIET_PER_DOCUMENT_S` for each document."""
QUIET_PER_DOCUMENT_S = 0.15
LATE_S = 5.0
"""A change that could not be accepted at once is tried again within this."""
LISTED_WITHIN_S = 60.0
NOT_NOW = (InstepError, NatsError, JetStreamError, TimeoutError, OSError)


class Run:
    """One run in one folder."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.tally = Tally()
        root = folder / "docs"
        root.mkdir(parents=True)
        self.author = Author(root, plan.seed, plan.documents, plan.poison)
        data = folder / "data"
        self.disks = [
            Disk(folder / "server", plan.tmpfs_mb if plan.full_disks else 0),
            Disk(data / "store", plan.tmpfs_mb if plan.full_disks else 0),
        ]
        self.server = Server(folder / "server")
        self.workers = Workers(folder, root, self.server, plan)
        settings = Settings(embedding=Embedding(model=MODEL))
        self.watcher = Watcher(self.server.url, data, wanted_generation(settings).id)
        self.base = f"http://127.0.0.1:{self.workers.gateway_port}"

    async def __call__(self) -> Tally:
        try:
            await self.server.start()
            await self.watcher.open()
            self.workers.begin(self.tally)
            async with self._beside(self.watcher.note_moments(), self._searcher().run()):
                async with self._beside(*self._echo()):
                    await self._attack()
                await self._end_in_quiet()
            await self._judge()
        finally:
            await self.workers.stop()
            await self.watcher.close()
            await self.server.stop()
            for disk in self.disks:
                disk.close()
        self.tally.counts.update(self.author.counts)
        self.tally.counts["models killed by poison"] = self.workers.models_lost()
        return self.tally

    def _searcher(self) -> Searcher:
        return Searcher(self.base, self.author, self.tally, self.plan.seed)

    def _echo(self) -> list[Coroutine[Any, Any, None]]:
        wanted = self.plan.duplicates_per_s > 0
        return [Echo(self.server.url, self.plan, self.tally).run()] if wanted else []

    @contextlib.asynccontextmanager
    async def _beside(self, *work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
        """Let these run meanwhile; none of them may end by itself."""
        tasks = [asyncio.create_task(one) for one in work]
        try:
            yield
        finally:
            for task in tasks:
                if task.done() and not task.cancelled() and task.exception():
                    self.tally.wrong.append(f"the harness itself: {task.exception()!r}")
            await ended(tasks)

    async def _attack(self) -> None:
        """Write everything, then edit at a steady pace while the gremlin is at work."""
        await asyncio.to_thread(self.author.begin)
        await self._under_way()
        gremlin = Gremlin(self.plan, self.workers, self.server, self.disks, self.tally)
        attack = asyncio.create_task(gremlin.run())
        started, done = time.monotonic(), 0
        while not attack.done():
            due = int((time.monotonic() - started) * self.plan.edits_per_s)
            while done < due:
                self.author.act()
                done += 1
            await asyncio.sleep(0.05)
        await attack

    async def _under_way(self) -> None:
        """Half of the documents are searchable: there is something to lose."""
        for _ in range(1200):
            with contextlib.suppress(*NOT_NOW):
                settled = [r for r in (await self.watcher.records()).values() if r.settled]
                if len(settled) >= self.plan.documents / 2:
                    return
            await asyncio.sleep(0.5)
        raise TimeoutError("the documents do not become searchable")

    async def _end_in_quiet(self) -> None:
        """Nothing attacks any more: wait until nobody has anything to do, then look."""
        started = time.monotonic()
        sentinel = self.author.sign_off()
        limit_s = QUIET_WITHIN_S + QUIET_PER_DOCUMENT_S * self.plan.documents
        while time.monotonic() - started < limit_s:
            with contextlib.suppress(*NOT_NOW):
                if await self._quiet(sentinel):
                    self.tally.seconds_to_quiet = time.monotonic() - started
                    break
            await asyncio.sleep(1.0)
        else:
            self.workers.show_tasks()
            self.tally.seconds_to_quiet = time.monotonic() - started
            self.tally.wrong.append(f"never quiet: {await self._why_not_quiet()}")

    async def _quiet(self, sentinel: str) -> bool:
        if await self.watcher.busy():
            return False
        newest, records = await self.watcher.newest(), await self.watcher.records()
        known = any(record.path == sentinel and record.settled for record in records.values())
        return known and not open_documents(newest, records) and not await self.watcher.busy()

    async def _why_not_quiet(self) -> str:
        newest, records = await self.watcher.newest(), await self.watcher.records()
        left = open_documents(newest, records)
        some = [
            (records[key].path, records[key].pending) if key in records else key for key in left
        ]
        return f"{await self.watcher.busy()} messages, {len(left)} documents, as {some[:2]}"[:2000]

    async def _judge(self) -> None:
        scene = await self._at_rest()
        left = orphans(scene)
        self.tally.counts["orphan rows before the sweep"] = len(left)
        if left and self.tally.counts["stops"]:
            await self._sweep()
            scene = await self.watcher.scene(self.author)
        judge(scene, self.tally)
        await check_search(self.base, self.author, self.tally, self.plan.seed)

    async def _at_rest(self) -> Scene:
        """What there is when everybody has had the time to see it.

        That includes the first listing of a producer that was started in the last moments. What no
        event has told to one that was there is wrong, though its next listing will find it.
        """
        scene = await self.watcher.scene(self.author)
        if not wrong_documents(scene):
            return scene
        self.tally.notes.append("differed at first; looked again")
        await asyncio.sleep(LATE_S)
        scene = await self.watcher.scene(self.author)
        lost = unheard(wrong_documents(scene), self.author.touched, self.workers.watching_since)
        for path, kind in lost.items():
            self.tally.counts["lost file events"] += 1
            self.tally.wrong.append(f"lost file events: {path} was {kind} before a listing")
        until = time.monotonic() + LISTED_WITHIN_S
        while wrong_documents(scene) and time.monotonic() < until:
            await asyncio.sleep(LATE_S)
            scene = await self.watcher.scene(self.author)
        return scene

    async def _sweep(self) -> None:
        """Once, and only where a process was frozen: ARCHITECTURE.md, "What remains"."""
        command = [sys.executable, "-m", "services", "sweep", "--data", str(self.folder / "data")]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self.folder, env=self.workers.environ() | {"INSTEP_URL": self.base}
        )
        if await process.wait():
            self.tally.notes.append(f"instep sweep ended with {process.returncode}")
        await asyncio.sleep(5)


async def ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel until it is heard: nats-py turns some cancellations into time-outs."""
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=1)


async def chaos(plan: Plan, folder: Path) -> Tally:
    """Run the plan in a folder that is not there yet, and say what happened."""
    return await Run(plan, folder)()


def parsed(argv: Sequence[str]) -> tuple[Plan, Path | None, Path | None]:
    parser = argparse.ArgumentParser(prog="chaos_run", description=__doc__)
    for name in ("seed", "documents", "worker-kills", "server-kills", "stops", "full-disks"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("minutes", "edits-per-s", "duplicates-per-s", "ack-wait-s"):
        parser.add_argument(f"--{name}", type=float)
    parser.add_argument("--poison", type=int)
    parser.add_argument("--tmpfs-mb", type=int)
    parser.add_argument("--no-faults", action="store_false", dest="faults", default=None)
    parser.add_argument("--mutation", choices=MUTATIONS)
    parser.add_argument("--report", type=Path, help="write the counts to this JSON file")
    parser.add_argument("--keep", type=Path, help="work in this new folder and leave it there")
    given = {
        name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None
    }
    keep, report = given.pop("keep", None), given.pop("report", None)
    if "minutes" in given:
        given["seconds"] = given.pop("minutes") * 60
    return Plan(**given), keep, report


def alone(argv: Sequence[str]) -> None:
    """Go on in namespaces of our own, where that can be had."""
    if os.environ.get("CHAOS_ALONE") or not shutil.which("unshare"):
        return
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        return
    os.environ["CHAOS_ALONE"] = "1"
    os.execvp(ALONE[0], [*ALONE, sys.executable, "-m", "chaos_run", *argv])


def main(argv: Sequence[str]) -> int:
    plan, keep, report = parsed(argv)
    alone(argv)
    folder = keep or Path(tempfile.mkdtemp(prefix="chaos-")) / "run"
    try:
        tally = asyncio.run(chaos(plan, folder))
    finally:
        if keep is None:
            shutil.rmtree(folder.parent, ignore_errors=True)
    print(tally.table(plan))
    if report:
        report.write_text(json.dumps(tally.report(plan), indent=1))
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
