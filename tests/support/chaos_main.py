"""The command line with faults: `python -m chaos_main run indexer --data …`, for chaos runs only.

The same parts, built by the same wiring, in a process of their own. What the environment variable
CHAOS asks for (JSON, `chaos_plan.Plan.for_workers`) is put between a part and its adapters, or in
the place of one rule of the protocol.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

JUMP_EVERY_S = 7.0
FURTHEST_JUMP_S = 3 * 86_400
FAULTS = {"fails before": 0.03, "fails after": 0.03, "slow": 0.05}
"""Shares of the calls of a store or a model."""
SLOW_S = 1.0


class FaultyStore:
    """A store whose calls fail before or after their effect, or take their time."""

    def __init__(self, inner: Any, chance: random.Random) -> None:
        self._inner = inner
        self._chance = chance

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in ("upsert", "delete", "ids", "unsearchable"):
            return found

        async def call(*args: Any) -> Any:
            from shared.domain.errors import StoreUnavailable

            kind = drawn(self._chance)
            if kind == "fails before":
                raise StoreUnavailable("a fault of the chaos run, before the call")
            if kind == "slow":
                await asyncio.sleep(self._chance.uniform(0, SLOW_S))
            answer = await found(*args)
            if kind == "fails after":
                raise StoreUnavailable("a fault of the chaos run, after the call")
            return answer

        return call


def drawn(chance: random.Random) -> str:
    """Which fault a call has; empty for none."""
    at = chance.random()
    for kind, share in FAULTS.items():
        if at < share:
            return kind
        at -= share
    return ""


def store_faults(chance: random.Random) -> None:
    from shared.stores import registry

    def faulty(kind: registry.StoreKind) -> registry.StoreKind:
        async def opened(settings: Any, wanted: registry.Wanted) -> Any:
            return FaultyStore(await kind.open(settings, wanted), chance)

        return replace(kind, open=opened)

    stores = {name: faulty(kind) for name, kind in registry.STORES.items()}
    registry.STORES = stores  # type: ignore[misc]


def model_faults(chance: random.Random) -> None:
    """Slow calls, and devices without memory for a moment."""
    from shared.domain.errors import EncoderBusy
    from shared.encoders import fake

    run = fake.FakeEncoder.run

    def faulty(self: Any, batch: Any) -> Any:
        kind = drawn(chance)
        if kind == "slow":
            time.sleep(chance.uniform(0, SLOW_S))
        elif kind:
            raise EncoderBusy("a fault of the chaos run")
        return run(self, batch)

    fake.FakeEncoder.run = faulty  # type: ignore[method-assign]


def clock_jumps(chance: random.Random) -> None:
    """A quarter of the time, the clock is up to three days off."""
    true_time, true_time_ns, base = time.time, time.time_ns, chance.getrandbits(32)

    def offset_s() -> float:
        own = random.Random(base + int(time.monotonic() / JUMP_EVERY_S))
        return own.uniform(-FURTHEST_JUMP_S, FURTHEST_JUMP_S) if own.random() < 0.25 else 0.0

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=offset_s())

    import services.host.wiring
    import shared.bus.delivery.consume

    time.time = lambda: true_time() + offset_s()
    time.time_ns = lambda: true_time_ns() + int(offset_s() * 1e9)
    shared.bus.delivery.consume.datetime = Jumping  # type: ignore[misc]
    services.host.wiring.utc_now = lambda: Jumping.now(UTC)


def shorter_ack_wait(seconds: float) -> None:
    """For stages that are declared from now on; all processes of a run say the same."""
    from shared.domain.topology import Stage

    defaults = tuple(seconds if d == 15.0 else d for d in Stage.__init__.__defaults__ or ())
    Stage.__init__.__defaults__ = defaults


# -- the protocol without one of its rules ---------------------------------------------------------


def no_second_look() -> None:
    """The indexer goes on as if the record it read before the upsert were still the newest."""
    from services.indexer.index import Index
    from shared.domain import ordering
    from shared.domain.errors import LedgerConflict

    async def call(self: Any, part: Any, delivery: Any) -> Any:
        try:
            rows, entry = self._rows(part), await self._known(part)
            if ordering.is_pending(entry.record, part.document.revision):
                entry, _ = await self._write(part, rows, entry, frozenset())
                if entry.record.pending.todo:
                    return []
                entry = await self._finish(part, rows, entry, delivery)
            return await self._clean(part, entry.record)
        except LedgerConflict:
            return []

    Index.__call__ = call  # type: ignore[method-assign]


def no_compare_and_set() -> None:
    """The ledger takes every record, whatever was read before."""
    from shared.bus.jetstream.ledger import KvLedger
    from shared.domain.errors import LedgerConflict

    update = KvLedger.update

    async def always(self: Any, doc_key: str, record: Any, *, expect: int) -> int:
        while True:
            try:
                return await update(self, doc_key, record, expect=expect)
            except LedgerConflict:
                entry = await self.get(doc_key)
                expect = entry.at if entry else 0

    KvLedger.update = always  # type: ignore[method-assign]


def ack_before_publish() -> None:
    """A delivery is acknowledged when it is opened; what follows from it may die with us."""
    from shared.bus.delivery.consume import Consumer

    handle = Consumer._handle

    async def acknowledged(self: Any, message: Any, delivery: Any) -> None:
        await message.ack()
        await handle(self, message, delivery)

    Consumer._handle = acknowledged  # type: ignore[method-assign]


RULES: dict[str, Callable[[], None]] = {
    "no-second-look": no_second_look,
    "no-compare-and-set": no_compare_and_set,
    "ack-before-publish": ack_before_publish,
}


def prepare(asked: dict[str, Any]) -> None:
    chance = random.Random(f"{asked['seed']} {os.getpid()}")
    if asked["ack_wait_s"]:
        shorter_ack_wait(asked["ack_wait_s"])
    if asked["faults"]:
        store_faults(chance)
        model_faults(chance)
        clock_jumps(chance)
    if asked["mutation"]:
        RULES[asked["mutation"]]()


def show_tasks(*_: object) -> None:
    """Say on stderr what everything waits for: for a run that never becomes quiet."""
    for task in asyncio.all_tasks(asyncio.get_running_loop()):
        frames, at = [], task.get_coro()
        while at is not None:
            frame = getattr(at, "cr_frame", None) or getattr(at, "ag_frame", None)
            frames.append(
                f"{frame.f_code.co_qualname}:{frame.f_lineno}" if frame else repr(at)[:80]
            )
            at = getattr(at, "cr_await", None) or getattr(at, "ag_await", None)
        print("TASK", task.get_name(), " > ".join(frames), file=sys.stderr, flush=True)


def main() -> int:
    from services.cli.main import run

    signal.signal(signal.SIGUSR1, show_tasks)
    prepare(json.loads(os.environ["CHAOS"]))
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
