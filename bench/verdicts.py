"""Verdicts a second of one validator: alone, beside a busy indexer, and while things are killed.

    python bench/verdicts.py [--documents 3000] [--kills 3]

One nats-server, LanceDB, `instep run` in processes of their own, the fake encoder. A backlog of
documents is indexed while no validator runs; the clock of *alone* runs from the first receipt to
the last one. *beside* is the same number of new files with all of them running; what counts is how
long after the last `documents.indexed` the last receipt comes. *under kills* is a third backlog,
while the validator is ended with SIGKILL each time that another share of it is judged, and every
other time the server, too; its clock runs through all the starts and the waits for `ack_wait`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from fleet import Fleet, Service, fleet, load
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from shared.bus.session import BusSession

LOOK_S = 0.1
GIVE_UP_S = 900.0
NOT_NOW = (NatsError, JetStreamError, TimeoutError)


@dataclass
class Counting:
    """What is on RESULTS, by kind."""

    session: BusSession

    async def of(self, word: str) -> int:
        """Events of one kind since the start; repeated ones are stored once."""
        subject = f"documents.{word}.>"
        while True:
            try:
                info = await self.session.js.stream_info("RESULTS", subjects_filter=subject)
                return sum((info.state.subjects or {}).values())
            except NOT_NOW:  # the server was killed
                await asyncio.sleep(LOOK_S)

    async def until(self, word: str, count: int) -> float:
        """Seconds until so many have come."""
        began = time.perf_counter()
        while await self.of(word) < count:
            if time.perf_counter() - began > GIVE_UP_S:
                raise SystemExit(f"{await self.of(word)} of {count} {word}")
            await asyncio.sleep(LOOK_S)
        return time.perf_counter() - began


def write(folder: Path, name: str, count: int) -> None:
    """Small files of two sections that nothing else has."""
    for n in range(count):
        path = folder / name / f"d{n // 100}" / f"n{n}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# Note {name} {n}\n\nAbout {name}{n}.\n\n## More\n\nStill {n}{name}.\n")


class Bench:
    def __init__(self, made: Fleet, folder: Path, documents: int, counting: Counting) -> None:
        self.fleet, self.folder, self.documents = made, folder, documents
        self.counting = counting
        self.written = 0

    async def write(self, name: str) -> None:
        await asyncio.to_thread(write, self.folder, name, self.documents)
        self.written += self.documents

    async def alone(self) -> None:
        await self.write("alone")
        await self.counting.until("indexed", self.written)
        service = await self.first_verdict()
        done, used_s = await self.counting.of("validated"), processor_s(service)
        took_s = await self.counting.until("validated", self.written)
        verdicts = self.written - done
        self._say("alone", verdicts, took_s)
        used_ms = (processor_s(service) - used_s) * 1000 / verdicts
        print(f"   {used_ms:.2f} ms of a processor each", flush=True)
        await asyncio.to_thread(service.stop)

    async def first_verdict(self) -> Service:
        """A validator that has begun."""
        before = await self.counting.of("validated")
        service = self.fleet.run("validator")
        await self.counting.until("validated", before + 1)
        return service

    async def beside(self) -> None:
        service = self.fleet.run("validator")
        await asyncio.to_thread(self.fleet.ready, service)
        began = time.perf_counter()
        await self.write("beside")
        await self.counting.until("indexed", self.written)
        indexed_s = time.perf_counter() - began
        late_s = await self.counting.until("validated", self.written)
        self._say("beside", self.documents, indexed_s + late_s)
        print(f"   indexed in {indexed_s:.1f} s, the last receipt {late_s:.1f} s later", flush=True)
        await asyncio.to_thread(service.stop)

    async def under_kills(self, kills: int) -> None:
        await self.write("kills")
        await self.counting.until("indexed", self.written)
        service = await self.first_verdict()
        done, began = await self.counting.of("validated"), time.perf_counter()
        share = (self.written - done) // (kills + 1)
        for n in range(kills):
            await self.counting.until("validated", done + (n + 1) * share)
            if n % 2:
                self.fleet.kill_server()
            service.stop(signal.SIGKILL)
            count = await self.counting.of("validated") - done
            print(
                f"   killed after {time.perf_counter() - began:.1f} s, {count} verdicts", flush=True
            )
            service = self.fleet.run("validator")
        await self.counting.until("validated", self.written)
        self._say("under kills", self.written - done, time.perf_counter() - began)
        await asyncio.to_thread(service.stop)

    def _say(self, what: str, verdicts: int, took_s: float) -> None:
        rate = verdicts / took_s
        print(f"{what}: {verdicts} verdicts in {took_s:.1f} s, {rate:.0f}/s, {load()}", flush=True)


def processor_s(service: Service) -> float:
    """Seconds of a processor that the process has used."""
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--kills", type=int, default=3)
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="instep-verdicts-"))
    folder = root / "docs"
    folder.mkdir()
    env = {
        "INSTEP_EMBEDDING__MODEL": "fake-64",
        "INSTEP_SOURCES__DOCS__PATH": str(folder),
    }
    with fleet(root, **env) as made:
        others = made.run("producer", "enricher", "embedder", "indexer")
        await asyncio.to_thread(made.ready, others)
        session = await BusSession.open(made.url, name="bench", drain_s=1, on_fatal=print)
        bench = Bench(made, folder, args.documents, Counting(session))
        await bench.alone()
        await bench.beside()
        if args.kills:
            await bench.under_kills(args.kills)
        await session.close()


if __name__ == "__main__":
    asyncio.run(main())
