"""The processes that watch folders, asked over the bus by those that do not.

What they see lies on a shelf. What they shall do is a core request to `instep.sources.VERB.SOURCE`:
whoever asks waits for the answer, and nobody answers later.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from shared.bus.monitor.watched import Watched, decode, garbled, remembered
from shared.domain.errors import BusUnavailable, TransientError
from shared.ports import Audit, Auditor, Hold, Holds, Shelf

PREFIX: Final = "instep.sources"
KEYS: Final = "watched."
"""Beginning of the keys on the shelf of the instance."""
AUDIT_S: Final = 600.0
DECIDE_S: Final = 120.0

log = structlog.get_logger(__name__)

Answer = Callable[[Mapping[str, Any]], Awaitable[Any]]


async def told(shelf: Shelf) -> Sequence[Watched]:
    """What every watched source looks like, by name. Raises BusUnavailable."""
    now = time.time()
    return remembered(await _notes(shelf, now), now)


async def last_told(shelf: Shelf) -> Sequence[Watched]:
    """What every source looked like when the last process watched it. Raises BusUnavailable."""
    now = time.time()
    notes = await _notes(shelf, now)
    last = max((min(one.at, now) for one in notes), default=now)  # the clock may have been ahead
    return remembered(notes, last)


async def _notes(shelf: Shelf, now: float) -> list[Watched]:
    found = await shelf.get_many(await shelf.keys(KEYS))
    notes = ((key.removeprefix(KEYS), decode(value)) for key, value in found.items())
    return [note or garbled(source, now) for source, note in notes]


async def tell(shelf: Shelf, one: Watched) -> None:
    """Raises BusUnavailable."""
    await shelf.put(f"{KEYS}{one.source}", one.encode())


@dataclass(frozen=True, slots=True)
class RemoteWatchers:
    """Implements `Holds` and `Auditor` for folders that other processes watch."""

    client: Client
    shelf: Shelf

    async def list(self) -> Sequence[Hold]:
        return [one.hold for one in await told(self.shelf) if one.hold is not None]

    async def release(self, source: str) -> int:
        return int(await self._ask("release", source, DECIDE_S))

    async def keep(self, source: str) -> int:
        return int(await self._ask("keep", source, DECIDE_S))

    async def __call__(self, *, dry_run: bool = False) -> Sequence[Audit]:
        return [await self._audit(one.source, dry_run) for one in await told(self.shelf)]

    async def _audit(self, source: str, dry_run: bool) -> Audit:
        try:
            return Audit(**await self._ask("audit", source, AUDIT_S, dry_run=dry_run))
        except TransientError as error:
            return Audit(source, files=0, error=str(error))

    async def _ask(self, verb: str, source: str, timeout_s: float, **fields: Any) -> Any:
        subject = f"{PREFIX}.{verb}.{source}"
        try:
            reply = await self.client.request(subject, json.dumps(fields).encode(), timeout_s)
        except NoRespondersError:
            raise TransientError(f"no process watches {source} now") from None
        except (NatsError, TimeoutError) as error:
            raise BusUnavailable(f"{verb} of {source}: {type(error).__name__}") from None
        answer = json.loads(reply.data)
        if "error" in answer:
            raise TransientError(answer["error"])
        return answer["answer"]


async def serve(
    client: Client, sources: Sequence[str], holds: Holds, auditor: Callable[[str], Auditor]
) -> None:
    """Answer what is asked about these sources, until it is cancelled."""
    running: set[asyncio.Task[None]] = set()

    def answers(act: Answer) -> Callable[[Msg], Awaitable[None]]:
        async def heard(message: Msg) -> None:
            task = asyncio.create_task(_reply(message, act))
            running.add(task)
            task.add_done_callback(running.discard)

        return heard

    subscriptions = []
    try:
        for source in sources:
            for verb, act in _acts(source, holds, auditor(source)).items():
                subject = f"{PREFIX}.{verb}.{source}"
                subscriptions.append(await client.subscribe(subject, cb=answers(act)))
        await asyncio.Event().wait()
    finally:
        for task in running:
            task.cancel()
        if client.is_connected:
            await asyncio.gather(*(s.unsubscribe() for s in subscriptions), return_exceptions=True)


def _acts(source: str, holds: Holds, auditor: Auditor) -> Mapping[str, Answer]:
    async def release(_: Mapping[str, Any]) -> int:
        return await holds.release(source)

    async def keep(_: Mapping[str, Any]) -> int:
        return await holds.keep(source)

    async def audit(fields: Mapping[str, Any]) -> dict[str, Any]:
        (found,) = await auditor(dry_run=bool(fields.get("dry_run")))
        return asdict(found)

    return {"release": release, "keep": keep, "audit": audit}


async def _reply(message: Msg, act: Answer) -> None:
    try:
        answer = {"answer": await act(json.loads(message.data or b"{}"))}
    except TransientError as error:
        answer = {"error": str(error)}
    except Exception as error:  # the edge: whatever happens, who asked is answered
        log.exception("question_failed", subject=message.subject)
        answer = {"error": f"a fault of instep ({type(error).__name__}); see the producer's log"}
    if message.reply:
        await message.respond(json.dumps(answer).encode())
