"""The state of the processes that watch folders, and requests to them; both only over the bus.

Their state lies in a bucket. A command to them is a core request to `instep.sources.VERB.SOURCE`:
the caller waits for the answer, and none comes later.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from shared.bus.monitor.watched import (
    TOLD_EVERY_S,
    Watched,
    decode,
    garbled,
    not_given,
    remembered,
)
from shared.domain.errors import BusUnavailable, TransientError
from shared.domain.services import changes_of
from shared.ports import Audit, Auditor, Explain, Hold, Holds, Selection, Shelf

PREFIX: Final = "instep.sources"
KEYS: Final = "watched."
"""Prefix of the keys in the bucket of the instance."""
HERE: Final = "here"
"""A verb that asks for nothing: the server knows at once that no process hears it."""
ANSWER_S: Final = 600.0
"""An audit and a removal list the folder, which may be large."""

log = structlog.get_logger(__name__)

Answer = Callable[[Mapping[str, Any]], Awaitable[Any]]


async def told(shelf: Shelf, expected: Collection[str] = ()) -> Sequence[Watched]:
    """The state of every watched source, by name. Raises BusUnavailable.

    Args:
        expected: sources of the settings that a process should watch.
    """
    now = time.time()
    return remembered(await _notes(shelf, now), now, expected)


async def present(client: Client, told: Sequence[Watched]) -> Sequence[Watched]:
    """The same states; those whose process was killed have ended. Raises BusUnavailable.

    The server says that nobody hears a subject before it answers a ping that was sent later. A
    process that hangs, or whose machine is cut off, is found by its silence.
    """
    asked = [one.source for one in told if one.heard and not one.ended]
    if not asked:
        return told
    inbox = client.new_inbox()
    try:
        answers = await client.subscribe(f"{inbox}.*")
        try:
            for source in asked:
                await client.publish(f"{PREFIX}.{HERE}.{source}", reply=f"{inbox}.{source}")
            await client.flush()  # its ping may overtake questions that are not written yet
            await client.flush()
            gone = set[str]()
            while answers.pending_msgs:
                gone.add((await answers.next_msg()).subject.rpartition(".")[2])
        finally:
            await answers.unsubscribe()
    except (NatsError, TimeoutError) as error:
        raise BusUnavailable(f"asking who watches: {type(error).__name__}") from None
    return [replace(one, ended=True) if one.source in gone else one for one in told]


async def last_told(shelf: Shelf) -> Sequence[Watched]:
    """The state of every source when the last process watched it. Raises BusUnavailable."""
    now = time.time()
    notes = [replace(one, left=False) for one in await _notes(shelf, now)]
    last = max((min(one.at, now) for one in notes), default=now)  # the clock may have been ahead
    return remembered(notes, last)


async def past(shelf: Shelf, expected: Collection[str] = ()) -> Sequence[Watched]:
    """The last state of every folder that no process is given now, by name. Raises BusUnavailable.

    Args:
        expected: as for `told`.
    """
    now = time.time()
    return not_given(await _notes(shelf, now), now, expected)


async def _notes(shelf: Shelf, now: float) -> list[Watched]:
    found = await shelf.few(KEYS)
    notes = ((key.removeprefix(KEYS), decode(value)) for key, value in found.items())
    return [note or garbled(source, now) for source, note in notes]


async def tell(shelf: Shelf, one: Watched) -> None:
    """Publish a state. Raises BusUnavailable."""
    await shelf.put(f"{KEYS}{one.source}", one.encode())


async def begin(shelf: Shelf, sources: Collection[str], *, alone: bool = False) -> float:
    """Publish that a process begins to watch: changes since the last one ended are not known.

    Args:
        alone: no other process watches on this bus, so the sources of earlier ones are left.

    Returns:
        The moment of the beginning, in Unix time.

    Raises:
        BusUnavailable: repeating is safe.
    """
    now = time.time()
    before = {one.source: one for one in await _notes(shelf, now)}
    for source in sources:
        last = before.pop(source, None)
        hold = last.hold if last else None
        await tell(shelf, Watched(source, now, listed=False, hold=hold, began=now))
    for other in before.values():
        if alone and not other.left:
            await tell(shelf, replace(other, left=True))
    return now


@dataclass(frozen=True, slots=True)
class Watchers:
    """Implements `Holds` and `Auditor` by requests to the processes that watch the folders.

    `expected`: sources of the settings that a process should watch.
    """

    client: Client
    shelf: Shelf
    expected: Collection[str] = ()

    async def list(self) -> Sequence[Hold]:
        found = await told(self.shelf, self.expected)
        return [one.hold for one in found if one.hold is not None]

    async def release(self, source: str) -> int:
        return int(await self._ask("release", source))

    async def keep(self, source: str) -> int:
        return int(await self._ask("keep", source))

    async def forget(self, source: str) -> int:
        return int(await self._ask("forget", source))

    async def __call__(self, *, dry_run: bool = False) -> Sequence[Audit]:
        found = await told(self.shelf, self.expected)
        return [await self._audit(one.source, dry_run) for one in found]

    async def explain(self, source: str, path: str) -> Selection:
        """The rules of a folder at a path; implements `Explain`."""
        return Selection(**await self._ask("explain", source, path=path))

    async def _audit(self, source: str, dry_run: bool) -> Audit:
        try:
            return Audit(**await self._ask("audit", source, dry_run=dry_run))
        except TransientError as error:
            return Audit(source, files=0, error=str(error))

    async def _ask(self, verb: str, source: str, **fields: Any) -> Any:
        subject = f"{PREFIX}.{verb}.{source}"
        try:
            reply = await self._reply(subject, json.dumps(fields).encode(), source)
        except NoRespondersError:
            raise TransientError(
                "no producer runs that can do it"
                if verb == "forget"
                else f"no process watches {source} now"
            ) from None
        except (NatsError, TimeoutError) as error:
            raise BusUnavailable(f"{verb} of {source}: {type(error).__name__}") from None
        answer = json.loads(reply.data)
        if "error" in answer:
            raise TransientError(answer["error"])
        return answer["answer"]

    async def _reply(self, subject: str, question: bytes, source: str) -> Msg:
        """The answer. A process that still publishes the folder's state may take its time.

        An answer is sent once: it is lost when its process ends, and may be lost when this process
        loses the bus.
        """
        began, connected = await self._began(source), self.client.stats["reconnects"]
        asking = asyncio.create_task(self.client.request(subject, question, ANSWER_S))
        try:
            while not (await asyncio.wait({asking}, timeout=TOLD_EVERY_S))[0]:
                if await self._is_silent(source):
                    raise TransientError(f"the process that watches {source} is silent")
                if await self._began(source) != began:
                    raise TransientError(f"the process that watches {source} has started anew")
                if self.client.stats["reconnects"] != connected:
                    raise BusUnavailable("the bus went away: the answer may be lost")
            return await asking
        finally:
            asking.cancel()

    async def _began(self, source: str) -> float | None:
        return next((o.began for o in await told(self.shelf) if o.source == source), None)

    async def _is_silent(self, source: str) -> bool:
        now = time.time()
        return any(one.is_silent(now) for one in await told(self.shelf) if one.source == source)


async def hear_changes(
    client: Client, source: str, heard: Callable[[bytes], None], subject: str | None = None
) -> Callable[[], Awaitable[None]]:
    """Pass on messages that other systems publish about a source: hints.

    Args:
        subject: None: `instep.sources.changed.SOURCE`, which the producer's key may hear.

    Returns:
        What ends it.
    """

    async def pass_on(message: Msg) -> None:
        heard(message.data)

    subscription = await client.subscribe(subject or changes_of(source), cb=pass_on)

    async def end() -> None:
        if client.is_connected:
            await subscription.unsubscribe()

    return end


async def serve(
    client: Client,
    sources: Sequence[str],
    holds: Holds,
    auditor: Callable[[str], Auditor],
    tell: Callable[[], Awaitable[None]],
    explain: Explain,
) -> None:
    """Answer requests about these sources, until it is cancelled.

    Args:
        tell: awaited once questions are heard, and before each answer, so that the notes show the
            effect.
    """
    running: set[asyncio.Task[None]] = set()

    def answers(act: Answer) -> Callable[[Msg], Awaitable[None]]:
        async def heard(message: Msg) -> None:
            task = asyncio.create_task(_reply(message, act, tell))
            running.add(task)
            task.add_done_callback(running.discard)

        return heard

    async def forgets(message: Msg) -> None:
        async def act(_: Mapping[str, Any]) -> int:
            return await holds.forget(message.subject.rpartition(".")[2])

        await answers(act)(message)

    subscriptions = []
    try:
        forgotten = f"{PREFIX}.forget.*"  # of any source: one of all such processes does it
        subscriptions.append(await client.subscribe(forgotten, queue="forget", cb=forgets))
        for source in sources:
            for verb, act in _acts(source, holds, auditor(source), explain).items():
                subject = f"{PREFIX}.{verb}.{source}"
                subscriptions.append(await client.subscribe(subject, cb=answers(act)))
            here = f"{PREFIX}.{HERE}.{source}"
            subscriptions.append(await client.subscribe(here, cb=_nothing))
        await tell()
        await asyncio.Event().wait()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if client.is_connected:
            await asyncio.gather(*(s.unsubscribe() for s in subscriptions), return_exceptions=True)


async def _nothing(_: Msg) -> None:
    """That somebody hears it is the answer."""


def _acts(source: str, holds: Holds, auditor: Auditor, explain: Explain) -> Mapping[str, Answer]:
    async def release(_: Mapping[str, Any]) -> int:
        return await holds.release(source)

    async def keep(_: Mapping[str, Any]) -> int:
        return await holds.keep(source)

    async def audit(fields: Mapping[str, Any]) -> dict[str, Any]:
        (found,) = await auditor(dry_run=bool(fields.get("dry_run")))
        return asdict(found)

    async def selection(fields: Mapping[str, Any]) -> dict[str, Any]:
        return asdict(await explain(source, str(fields.get("path", ""))))

    return {"release": release, "keep": keep, "audit": audit, "explain": selection}


async def _reply(message: Msg, act: Answer, tell: Callable[[], Awaitable[None]]) -> None:
    try:
        answer = {"answer": await act(json.loads(message.data or b"{}"))}
        await tell()
    except TransientError as error:
        answer = {"error": str(error)}
    except asyncio.CancelledError:
        answer = {"error": "the process that watches it is stopping"}
    except Exception as error:  # the edge: every request is answered
        log.exception("question_failed", subject=message.subject)
        answer = {"error": f"a fault of instep ({type(error).__name__}); see the producer's log"}
    if message.reply:
        await message.respond(json.dumps(answer).encode())
