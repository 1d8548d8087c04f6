"""Move a message that no retry can help to the dead letters."""

import json
from dataclasses import dataclass
from typing import Any, Final

from nats.aio.msg import Msg
from nats.js import JetStreamContext

from shared.bus.delivery.settle import MAX_REASON_CHARS
from shared.bus.jetstream.publish import HEADER_ROOM_BYTES, Outgoing, store
from shared.bus.jetstream.reading import stored_us
from shared.domain.errors import GARBAGE
from shared.domain.topology import KB, MAX_MESSAGE_BYTES

DEAD_LETTERS: Final = "DLQ"
MAX_NAMED_BYTES: Final = 8 * KB
"""Of a document or a batch in the headers; a path of 1,024 bytes may need 6 KB when escaped."""


async def bury(js: JetStreamContext, message: Msg, *, code: str, reason: str) -> None:
    """Publish to `dlq.<stream>.<consumer>`, wait for the acknowledgement, only then `term`.

    Raises:
        BusUnavailable: it is not in the dead letters and still unacknowledged: it comes back.
    """
    seen = message.metadata
    if seen.stream != DEAD_LETTERS:  # what buries the buried would go round for ever
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
    """Which message a dead letter is of, and who could not handle it.

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
