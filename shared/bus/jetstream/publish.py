"""Publishes events to the bus, always with the name of the stream and a PubAck."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from nats.errors import ConnectionClosedError, MaxPayloadError
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import PubAck
from nats.js.errors import APIError

from shared.bus.delivery.failure_notes import WORK
from shared.domain.errors import BusUnavailable, ConfigurationError, PermanentError, StreamFull
from shared.domain.events import BatchCompleted, Event, Result
from shared.domain.topology import KB, MAX_MESSAGE_BYTES

TIMEOUT_S: Final = 5.0
PAUSES_S: Final = (0.05, 0.25, 1.0)
"""Pauses between attempts of one call; the message id stays, so a repeated one is stored once."""
FRAME_BYTES: Final = 64
"""An upper bound of the line and line ends around headers."""
HEADER_ROOM_BYTES: Final = 20 * KB
"""Most bytes of the headers of a dead letter."""

STREAM_FULL: Final = (10077, 10023, 10047)
TOO_LARGE: Final = 10054
WRONG_STREAM: Final = 10060


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message for a stream."""

    stream: str
    subject: str
    data: bytes
    message_id: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def all_headers(self) -> dict[str, str]:
        return {
            "content-type": "application/json",
            **self.headers,
            "Nats-Msg-Id": self.message_id,
            "Nats-Expected-Stream": self.stream,
        }


class JetPublisher:
    """Implements `shared.ports.Publish`.

    Args:
        instance: names this installation in the CloudEvents headers of RESULTS.
    """

    def __init__(self, js: JetStreamContext, *, instance: str = "instep") -> None:
        self._js = js
        self._instance = instance

    async def __call__(self, event: Event) -> None:
        data = event.model_dump_json().encode()
        message_id = event.message_id
        headers = cloud_headers(event, message_id, self._instance)
        if event.work is not None:
            headers = {**headers, WORK: event.work}
        await store(self._js, Outgoing(event.stream, event.subject, data, message_id, headers))


async def store(js: JetStreamContext, message: Outgoing) -> PubAck:
    """Publish and wait for the acknowledgement, several times if need be.

    Raises:
        PermanentError: larger than a message may be.
        ConfigurationError: another stream has the subject.
        BusUnavailable: no acknowledgement, or the stream is full.
        nats.js.errors.APIError: any other refusal, e.g. of an expected sequence.
    """
    headers = message.all_headers()
    if (size := wire_bytes(message.data, headers)) > MAX_MESSAGE_BYTES:
        raise PermanentError(f"{message.subject}: {size} bytes, a message has at most 1 MB")
    for pause_s in (*PAUSES_S, None):
        try:
            return await js.publish(
                message.subject, message.data, timeout=TIMEOUT_S, headers=headers
            )
        except APIError as error:
            if (final := _refusal(message, error)) is not None:
                raise final from None
        except MaxPayloadError:
            raise PermanentError(f"{message.subject}: above the server's max_payload") from None
        except (NatsError, TimeoutError) as error:
            last = type(error).__name__
            if pause_s is None or isinstance(error, ConnectionClosedError):
                raise BusUnavailable(f"{message.stream}: no acknowledgement ({last})") from None
        if pause_s is None:
            break
        await asyncio.sleep(pause_s)
    raise BusUnavailable(f"{message.stream}: the bus is not ready")


def wire_bytes(data: bytes, headers: Mapping[str, str]) -> int:
    """The bytes that the server counts against `max_payload`.

    nats-py counts the data only; above the limit the server closes the connection for good.
    """
    return len(data) + sum(len(k) + len(v.encode()) + 4 for k, v in headers.items()) + FRAME_BYTES


def _refusal(message: Outgoing, error: APIError) -> Exception | None:
    """The error of the answer; None: the server is not ready, another attempt may work."""
    if error.err_code in STREAM_FULL:
        return StreamFull(f"{message.stream} is full")
    if error.err_code == TOO_LARGE:
        return PermanentError(f"{message.subject}: above the stream's largest message")
    if error.err_code == WRONG_STREAM:
        return ConfigurationError(f"{message.subject} is not a subject of stream {message.stream}")
    return None if error.code == 503 else error


def cloud_headers(event: Event, message_id: str, instance: str) -> dict[str, str]:
    """CloudEvents 1.0 in binary mode, for the events that outside systems read; else none."""
    if not isinstance(event, Result | BatchCompleted):
        return {}
    kind, word = event.subject.split(".")[:2]
    kind = {"documents": "document", "batches": "batch"}[kind]
    about = (
        f"{event.document.source}/{quote(event.document.path)}"
        if isinstance(event, Result)
        else f"{event.batch.source}/{quote(event.batch.id)}"
    )
    headers = {
        "ce-specversion": "1.0",
        "ce-id": message_id,
        "ce-type": f"instep.{kind}.{word}.v1",
        "ce-source": f"/instep/{quote(instance)}",
        "ce-subject": about,
        "ce-datacontenttype": "application/json",
        "ce-dataschema": f"urn:instep:{kind}:{word}:1",
    }
    if at := _happened_at(event):
        headers["ce-time"] = at
    return headers


def _happened_at(event: Event) -> str | None:
    fields: dict[str, Any] = json.loads(event.model_dump_json(include=set(_TIMES)))
    return next((fields[name] for name in _TIMES if name in fields), None)


_TIMES: Final = ("indexed_at", "removed_at", "validated_at", "completed_at")
