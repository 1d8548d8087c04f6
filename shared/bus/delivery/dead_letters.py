"""The dead letters: move messages there, list, dismiss, and record those that the server gave up.

No function here sends a part again: only a new submission of a document's newest change repairs it.
"""

import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import APIError, NotFoundError
from pydantic import ValidationError

from shared.bus.delivery.outcome import MAX_REASON_CHARS
from shared.bus.jetstream.publish import HEADER_ROOM_BYTES, Outgoing, store
from shared.bus.jetstream.reading import scan, stored_us
from shared.domain.codecs.change_codec import check_identity
from shared.domain.errors import GARBAGE, BusUnavailable, MalformedEvent
from shared.domain.events import Batch, Document, Event
from shared.domain.topology import KB, MAX_MESSAGE_BYTES
from shared.ports import DeadLetter, Delivery

DEAD_LETTERS: Final = "DLQ"
MAX_NAMED_BYTES: Final = 8 * KB
"""Of a document or a batch in the headers; a path of 1,024 bytes may need 6 KB when escaped."""


async def bury(js: JetStreamContext, message: Msg, *, code: str, reason: str) -> None:
    """Publish to `dlq.<stream>.<consumer>`, wait for the acknowledgement, only then `term`.

    Raises:
        BusUnavailable: it is not in the dead letters and still unacknowledged: it comes back.
    """
    seen = message.metadata
    if seen.stream != DEAD_LETTERS:  # a dead letter of a dead letter would go round for ever
        letter = outgoing(
            Origin(seen.stream, seen.consumer, seen.sequence.stream, stored_us(message.reply)),
            subject=message.subject,
            data=message.data,
            headers={
                "Dlq-Deliveries": str(seen.num_delivered),
                "Dlq-Code": code,
                "Dlq-Reason": " ".join(reason.split())[:MAX_REASON_CHARS],
            },
        )
        await store(js, letter)
    await message.term()


@dataclass(frozen=True, slots=True)
class Origin:
    """The message of a dead letter, and the consumer that could not handle it.

    stored_us: when the stream stored it (`reading.stored_us`): a stream that was made anew gives
        the sequence again, and the letter must not be taken for the earlier one.
    """

    stream: str
    consumer: str
    sequence: int
    stored_us: int

    @property
    def message_id(self) -> str:
        return f"dlq:{self.stream}:{self.consumer}:{self.sequence}:{self.stored_us}"


def outgoing(origin: Origin, *, subject: str, data: bytes, headers: dict[str, str]) -> Outgoing:
    """The dead letter of a message; a body that leaves no room for the headers stays behind."""
    fits = len(data) + HEADER_ROOM_BYTES <= MAX_MESSAGE_BYTES
    return Outgoing(
        stream=DEAD_LETTERS,
        subject=f"dlq.{origin.stream}.{origin.consumer}",
        data=data if fits else b"",
        message_id=origin.message_id,
        headers={
            "Dlq-Subject": subject,
            "Dlq-Seq": str(origin.sequence),
            "Dlq-Size": str(len(data)),
            "Dlq-Document": _named(data, "document"),
            "Dlq-Batch": _named(data, "batch"),
            **headers,
        },
    )


def _named(data: bytes, field: str) -> str:
    """An object of the event as a header, so that a list of letters needs no bodies; else ""."""
    try:
        told: Any = json.loads(data)[field]
    except GARBAGE:
        return ""
    text = json.dumps(told) if isinstance(told, dict) else ""
    return text if len(text) <= MAX_NAMED_BYTES else ""


OnDead = Callable[[DeadLetter], Awaitable[Sequence[Event]]]


async def letters(
    js: JetStreamContext,
    *,
    after: int = 0,
    limit: int = 1000,
    wanted: Callable[[DeadLetter], bool] = lambda _: True,
) -> Sequence[DeadLetter]:
    """Dead letters with `id` above `after`, oldest first; bodies are not read.

    Raises:
        BusUnavailable: no answer.
    """
    found: list[DeadLetter] = []
    async with contextlib.aclosing(scan(js, DEAD_LETTERS, "dlq.*.*", values=False)) as messages:
        async for message in messages:
            letter = letter_of(message)
            if letter.id > after and wanted(letter):
                found.append(letter)
    return found[:limit]


async def drop(js: JetStreamContext, id: int) -> bool:
    """Delete a dead letter; False: there is none with this id. Raises BusUnavailable."""
    try:
        return bool(await js.delete_msg(DEAD_LETTERS, id))
    except APIError as error:
        if error.err_code in NO_SUCH_MESSAGE or isinstance(error, NotFoundError):
            return False
        raise BusUnavailable(f"DLQ: {error.description}") from None
    except (NatsError, TimeoutError) as error:
        raise BusUnavailable(f"DLQ: not reachable ({type(error).__name__})") from None


NO_SUCH_MESSAGE: Final = (10037, 10043, 10057)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST: Final = 2**53
_DIGITS: Final = 20
"""Python refuses to read a number of thousands of them."""


def letter_of(message: Msg) -> DeadLetter:
    """The dead letter that a message of RECORDER carries."""
    seen = message.metadata
    return _letter(
        seen.sequence.stream, message.subject, message.headers or {}, message.data, seen.timestamp
    )


def recorder(on_dead: OnDead) -> Callable[[DeadLetter, Delivery], Awaitable[Sequence[Event]]]:
    """Handler of RECORDER: `session.subscribe_raw(RECORDER, letter_of, recorder(on_dead))`."""

    async def record(letter: DeadLetter, _: Delivery) -> Sequence[Event]:
        return await on_dead(letter)

    return record


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The server's advisory that it delivers a message no more."""

    stream: str
    consumer: str
    sequence: int
    deliveries: int
    at: datetime


def exhausted_of(message: Msg) -> Exhausted:
    """The advisory that a message of MOVER carries. Raises MalformedEvent."""
    try:
        told = json.loads(message.data)
        return Exhausted(
            str(told["stream"]),
            str(told["consumer"]),
            int(told["stream_seq"]),
            int(told["deliveries"]),
            _moment(str(told["timestamp"])),
        )
    except GARBAGE:
        raise MalformedEvent("not an advisory of exhausted deliveries") from None


def mover(
    js: JetStreamContext,
) -> Callable[[Exhausted, Delivery], Awaitable[Sequence[Event]]]:
    """Handler of MOVER: `session.subscribe_raw(MOVER, exhausted_of, mover(session.js))`."""

    async def move(told: Exhausted, _: Delivery) -> Sequence[Event]:
        try:
            raw = await js.get_msg(told.stream, seq=told.sequence)
        except NotFoundError:
            return ()
        except (NatsError, APIError, TimeoutError) as error:
            raise BusUnavailable(f"{told.stream}: not readable ({type(error).__name__})") from None
        assert raw.time is not None  # the server always says
        if raw.time > told.at:
            return ()  # the stream was made anew, and has given the number to another message
        letter = outgoing(
            Origin(told.stream, told.consumer, told.sequence, _microseconds(raw.time)),
            subject=raw.subject or "",
            data=raw.data or b"",
            headers={
                "Dlq-Deliveries": str(told.deliveries),
                "Dlq-Code": "exhausted",
                "Dlq-Reason": f"the server gave up after {told.deliveries} deliveries",
            },
        )
        await store(js, letter)
        if await _is_work_queue(js, told.stream):
            await js.delete_msg(told.stream, told.sequence)
        return ()

    return move


def _microseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def _moment(text: str) -> datetime:
    """A time of the server, to the microsecond. Raises ValueError."""
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{seconds}.{fraction[:6]:0<6}+00:00")


async def _is_work_queue(js: JetStreamContext, stream: str) -> bool:
    """Only such a stream has one reader: DOCS and RESULTS have others."""
    try:
        return (await js.stream_info(stream)).config.retention == "workqueue"
    except (NatsError, APIError, TimeoutError) as error:
        raise BusUnavailable(f"{stream}: no answer ({type(error).__name__})") from None


def _letter(
    id: int, subject: str, headers: Mapping[str, str], data: bytes, at: datetime
) -> DeadLetter:
    _, stream, consumer = subject.split(".", 2)
    sequence = _number(headers, "Dlq-Seq")
    return DeadLetter(
        id=id,
        stream=stream,
        consumer=consumer,
        subject=headers.get("Dlq-Subject", ""),
        sequence=sequence,
        document=_changed(headers, data, sequence, at)
        if stream == "DOCS"
        else _document(_told_of(headers, "Document", data)),
        code=headers.get("Dlq-Code", "unknown"),
        reason=headers.get("Dlq-Reason", ""),
        deliveries=_number(headers, "Dlq-Deliveries"),
        at=at,
        batch=_batch(_told_of(headers, "Batch", data)),
    )


def _number(headers: Mapping[str, str], name: str) -> int:
    text = headers.get(name, "")
    number = int(text) if text.isdecimal() and len(text) < _DIGITS else 0
    return number if number < _MOST else 0


def _told_of(headers: Mapping[str, str], field: str, data: bytes) -> object:
    """The document or batch of a letter, from a header or from the event itself."""
    try:
        if told := headers.get(f"Dlq-{field}"):
            return json.loads(told)
        return json.loads(data)[field.lower()]
    except GARBAGE:
        return None


def _batch(told: object) -> Batch | None:
    try:
        return Batch.model_validate(told)
    except ValidationError:
        return None


def _document(told: object) -> Document | None:
    """The document of a dead event."""
    try:
        return Document.model_validate(told)
    except ValidationError:
        return None


def _changed(
    headers: Mapping[str, str], data: bytes, sequence: int, at: datetime
) -> Document | None:
    """The document of the change, the sequence being its revision; None: the subject is of none.

    The subject decides, for the bytes may claim to be of any document; without a path that fits,
    the path is empty.
    """
    *_, source, key = ["", *headers.get("Dlq-Subject", "").split(".")]
    told = _document(_told_of(headers, "Document", data))
    if told is not None and (told.source, told.doc_key) == (source, key):
        with contextlib.suppress(MalformedEvent):
            check_identity(told)
            return told.model_copy(update={"revision": sequence})
    fields = {"source": source, "doc_key": key, "path": "", "revision": sequence, "changed_at": at}
    return _document(fields)
