"""Handles one delivery from bytes to acknowledgement; only this module has FastStream's arguments.

FastStream keeps the subscriber's life, its middlewares and its call; two of its methods, which a
contract test pins, are replaced so that `shared.bus.delivery.pull` does the fetching. This module
acknowledges messages: FastStream's policies either lose them or repeat them without a pause.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Generic, TypeVar, cast
from weakref import WeakValueDictionary

import structlog
from faststream import AckPolicy, StreamMessage
from faststream.nats import JStream, NatsBroker, PullSub
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig

from shared.bus.delivery.dead_letters import bury
from shared.bus.delivery.failure_notes import ACCUSED, Ended, Known, Trouble, name_of
from shared.bus.delivery.gate import Gate
from shared.bus.delivery.notes_bucket import Troubles
from shared.bus.delivery.outcome import Ack, Bury, Retry, Verdict, after, before, one_line
from shared.bus.delivery.pull import Pull
from shared.bus.jetstream.reading import stored_us
from shared.domain.errors import BusUnavailable, InstepError
from shared.domain.events import Event
from shared.domain.topology import Stage
from shared.observe.distribution import HANDLING_S, WAITING_S, Distribution
from shared.ports import Delivery, Publish


@dataclass(slots=True)
class Counts:
    """Deliveries of one stage by their end, since the process started."""

    acked: int = 0
    retried: int = 0
    buried: int = 0
    passed: int = 0
    """Besides: acknowledged unopened, because the consumer of another stage has them."""
    seconds: Distribution = field(default_factory=lambda: Distribution(HANDLING_S))
    """From the start of a delivery to its settlement."""
    waited: Distribution = field(default_factory=lambda: Distribution(WAITING_S))
    """From the first storing of a message to the start of its first delivery, in seconds."""


log = structlog.get_logger(__name__)

T = TypeVar("T")
R = TypeVar("R")
Handler = Callable[[T, Delivery], Awaitable[Sequence[Event]]]
Decode = Callable[[Msg], T]

HOLD_PAUSE_S: Final = 1.0
LONGEST_HOLD_S: Final = 600.0
"""How long a message is kept while the bus is away or full, before that counts as an attempt."""


class Consumer(Generic[T]):
    """Handles the messages of one stage and settles each of them.

    Args:
        gate: of the process; None: the process has no other stages.
        is_anothers: whether the consumer of another stage handles a message that this one receives,
            too: such messages are acknowledged unopened.
    """

    def __init__(
        self,
        stage: Stage[Any],
        decode: Decode[T],
        handler: Handler[T],
        on_fatal: Callable[[BaseException], None],
        *,
        gate: Gate | None = None,
        is_anothers: Callable[[Msg], bool] = lambda _: False,
    ) -> None:
        self.stage = stage
        self.counts = Counts()
        self._is_anothers = is_anothers
        self._decode = decode
        self._handler = handler
        self._known: dict[str, Known] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Copies of one message are opened one at a time: if all were open when this process ends,
        one death would count once for each."""
        self._looked_at: set[str] = set()
        """Names of messages that other processes may have noted; so they may note copies."""
        self._has_copies = stage.event.work is not Event.work
        self._gate = gate or Gate()
        self._ended = Ended()
        self._doubtful = -1
        """Number of next messages that another process may have opened; -1: not known yet."""
        self.pull = Pull(stage, self._hand_to_faststream, on_fatal)

    def register(self, broker: NatsBroker, js: JetStreamContext, publish: Publish) -> None:
        """Add the stage to a broker that has not started; it never declares a stream."""
        self._js, self._publish = js, publish
        stage = self.stage
        self._troubles = Troubles(js, stage.name)
        one = stage.subjects[0] if len(stage.subjects) == 1 else ""
        subscriber = broker.subscriber(
            one,
            stream=JStream(stage.stream, declare=False),
            durable=stage.name,
            config=None if one else ConsumerConfig(filter_subjects=list(stage.subjects)),
            pull_sub=PullSub(batch_size=1),
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
            decoder=_raw,
            title=stage.name,
        )
        subscriber(self.on_message)
        self._subscriber = cast(Any, subscriber)
        self._subscriber._create_subscription = self._create_subscription
        self._subscriber._consume_pull = self.pull.watch

    async def _create_subscription(self) -> None:
        """In place of FastStream's, which would create the durable with its own defaults."""
        if self._subscriber.subscription is None:
            self._subscriber.subscription = self
            await self.pull.start(self._subscriber.connection)
            self._subscriber.add_task(self._subscriber._consume_pull)

    async def unsubscribe(self) -> None:
        """Called by FastStream at its stop."""
        await self.pull.drain(0)

    async def _hand_to_faststream(self, message: Msg) -> None:
        if self._is_anothers(message):
            await self._pass(message)
            return
        async with self._turns.setdefault(self._name(message), asyncio.Lock()):
            if await self._look(message):
                await self._subscriber.consume(message)

    async def _pass(self, message: Msg) -> None:
        try:
            await message.ack()
            self.counts.passed += 1
        except NatsError as failure:
            error = type(failure).__name__
            log.warning("delivery_left_unsettled", stage=self.stage.name, error=error)

    async def _look(self, message: Msg) -> bool:
        """Read the note of a message that another process may have opened.

        Returns:
            False: reading failed. The message stays unsettled, and comes again after `ack_wait`.
        """
        seen, name = message.metadata, self._name(message)
        if self._is_first(seen.num_delivered, seen.num_pending) and name not in self._looked_at:
            return True
        self._looked_at.add(name)
        delivery = seen.num_delivered
        known = self._ended.known(seen.sequence.stream, delivery) if delivery > 1 else None
        if known is None:
            try:
                note = await self._troubles.get(name)
            except Exception as error:  # noqa: BLE001 - in any case it comes after `ack_wait`
                log.warning("trouble_not_read", stage=self.stage.name, reason=one_line(error))
                return False
            known = Known(note or Trouble(), seen_to_end=False, noted=note is not None)
        self._known[message.reply] = known
        return True

    def _is_first(self, delivery: int, pending: int) -> bool:
        """Whether this is certainly the first process that has the message.

        A server stores its number of deliveries a moment later. When it dies together with the
        receiving process, as the bundled one does, it counts from one again. Messages that such a
        process held are among the first that the next one gets.
        """
        if self._doubtful < 0:
            self._doubtful = min(self.stage.prefetch, 1 + pending)
        doubtful, self._doubtful = self._doubtful > 0, max(0, self._doubtful - 1)
        return delivery == 1 and not doubtful

    async def on_message(self, message: Msg) -> None:
        """Decode, handle, publish the results, settle."""
        began = time.monotonic()
        name, known = self._name(message), self._known.pop(message.reply, Known())
        delivery = describe(message, datetime.now(UTC))
        if delivery.attempt == 1:
            self.counts.waited.add(delivery.age_s)
        error: Exception | None = None
        verdict: Verdict | None = before(self.stage, known, delivery=delivery.attempt)
        if verdict is not None:
            known = replace(known, noted=False)  # unopened: the note stays as it is
        else:
            unopened = replace(known, noted=known.noted or not known.seen_to_end)
            try:
                async with self._gate.through(alone=known.trouble.killed >= ACCUSED):
                    known = await self._open(name, known)
                    await self._handle(message, delivery)
            except Exception as failure:  # noqa: BLE001 - the outermost frame: settle decides
                error = failure
                self._note(failure)
            except asyncio.CancelledError:  # this process was asked to stop: not its fault
                await self._close(name, unopened)
                raise
            known, verdict = after(
                self.stage,
                error,
                known,
                delivery=delivery.attempt,
                took_s=time.monotonic() - began,
                now=time.time(),
            )
        await self._apply(message, delivery, verdict, error, known)
        self.counts.seconds.add(time.monotonic() - began)

    async def _open(self, name: str, known: Known) -> Known:
        """Note that the message is open, unless it cannot have killed a process: if this one ends
        now, the note counts it."""
        if known.seen_to_end:
            return known
        noted = await self._troubles.put(name, known.trouble.opened())
        return replace(known, noted=noted or known.noted)

    async def _close(self, name: str, known: Known) -> None:
        """Update the note of an ended delivery, before it is settled."""
        if known.noted:
            await self._troubles.close(name, known.trouble)

    def _note(self, failure: Exception) -> None:
        """Log a bug, or a library's untranslated error, at its first delivery."""
        if not isinstance(failure, InstepError):
            log.error("handler_broke", stage=self.stage.name, error=_trace(failure))

    async def _handle(self, message: Msg, delivery: Delivery) -> None:
        event = self._decode(message)
        follows = await self._with_the_bus(lambda: self._handler(event, delivery))
        for fact in follows:
            await self._with_the_bus(partial(self._publish, fact))

    async def _with_the_bus(self, call: Callable[[], Awaitable[R]]) -> R:
        """Repeat the call while the bus is away or full: back-pressure is no failed attempt.

        The message stays open meanwhile, and its results are kept.
        """
        give_up_at = time.monotonic() + LONGEST_HOLD_S
        while True:
            try:
                return await call()
            except BusUnavailable as error:
                if not self.pull.open or time.monotonic() >= give_up_at:
                    raise
                log.warning("stage_waits_for_bus", stage=self.stage.name, reason=str(error))
                await asyncio.sleep(HOLD_PAUSE_S)

    async def _apply(
        self,
        message: Msg,
        delivery: Delivery,
        verdict: Verdict,
        error: Exception | None,
        known: Known,
    ) -> None:
        """Settle an opened message; only this does. A failure leaves it unacknowledged."""
        where = {"stage": self.stage.name, "seq": delivery.sequence, "attempt": delivery.attempt}
        ended, name = self._ended, self._name(message)
        if not isinstance(verdict, Bury):
            self._looked_at.discard(name)
        ended.remember(delivery.sequence, delivery.attempt, known.trouble, noted=known.noted)
        try:
            match verdict:
                case Ack():
                    await message.ack()
                    self.counts.acked += 1
                case Retry(after_s):
                    await self._close(name, known)
                    await message.nak(delay=after_s * random.uniform(1.0, 1.25))
                    self.counts.retried += 1
                    log.info("delivery_retried", **where, error=one_line(error))
                    return
                case Bury(code, reason):
                    await bury(self._js, message, code=code, reason=reason)
                    self.counts.buried += 1
                    log.warning("delivery_buried", **where, code=code, reason=reason)
        except (NatsError, InstepError) as failure:
            log.warning("delivery_left_unsettled", **where, error=type(failure).__name__)
            await self._close(name, known)
            return
        ended.forget(delivery.sequence)
        if known.noted and not isinstance(verdict, Bury):  # a copy of it may be on its way
            await self._troubles.erase(name)

    def _name(self, message: Msg) -> str:
        """The name of its note; publishers to other stages may use any header."""
        headers = message.headers if self._has_copies else None
        return name_of(message.metadata.sequence.stream, stored_us(message.reply), headers or {})


def describe(message: Msg, now: datetime) -> Delivery:
    """JetStream's metadata of a message."""
    seen = message.metadata
    headers: Mapping[str, str] = message.headers or {}
    return Delivery(
        sequence=seen.sequence.stream,
        attempt=seen.num_delivered,
        age_s=max(0.0, (now - seen.timestamp).total_seconds()),
        subject=message.subject,
        headers=headers,
    )


async def _raw(message: StreamMessage[Msg]) -> Msg:
    """Leave the message raw; `on_message` decodes it, where its fault can be settled."""
    return message.raw_message


def _trace(error: Exception) -> str:
    """Type of a foreign error and where it arose; never its text, which may quote a document."""
    frames, at = [], error.__traceback__
    while at is not None:
        frames.append(f"{at.tb_frame.f_code.co_qualname}:{at.tb_lineno}")
        at = at.tb_next
    return f"{type(error).__name__} in {' > '.join(frames[-3:])}"
