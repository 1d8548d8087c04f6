"""Reads streams by plain JetStream requests: one message, many answers, a whole subject.

Pulls only: nats-py's ordered push consumers (its KV watchers, its object store) have no time-out
and break with the server's newer acknowledgement format; these do not.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Any, Final

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RawStreamMsg
from nats.js.errors import APIError, NotFoundError

from shared.bus.access.denials import answered
from shared.domain.errors import BusUnavailable, PermanentError

TIMEOUT_S: Final = 5.0
PAGE_BYTES: Final = 8 * 1024**2

_ACK_TOKENS: Final = 9
"""`$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<of consumer>.<time>.<pending>`; the newer
format has two more before the stream."""
_PAGE_MESSAGES: Final = 1000
_NO_MESSAGE: Final = 10037


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn the client's errors into BusUnavailable, and a message too large into PermanentError."""
    try:
        yield
    except nats.errors.MaxPayloadError as error:
        raise PermanentError(f"{doing}: larger than a message of the bus may be") from error
    except (nats.errors.Error, TimeoutError, OSError) as error:
        code = f" {error.err_code}" if isinstance(error, APIError) else ""
        raise BusUnavailable(f"{doing}: {type(error).__name__}{code}") from error


def stream_sequence(reply: str) -> int:
    """From the reply subject of a pulled message; its `metadata` makes a clock time, too, which
    costs as much as all the rest."""
    return _ack_number(reply, 5)


def stored_us(reply: str) -> int:
    """When the server stored a pulled message, in microseconds since 1970, rounded down.

    A stream that is made anew may count from 1 again; together with this time, a sequence names one
    message for ever.
    """
    return _ack_number(reply, 7) // 1000


def _ack_number(reply: str, place: int) -> int:
    tokens = reply.split(".")
    return int(tokens[place if len(tokens) == _ACK_TOKENS else place + 2])


async def newest(js: JetStreamContext, stream: str, subject: str) -> RawStreamMsg | None:
    """The newest message of a subject, read from the stream's leader.

    Raises:
        BusUnavailable: no answer, or there is no such stream.
    """
    with translated(f"reading {stream}"):
        try:
            return await js.get_last_msg(stream, subject)
        except NotFoundError as error:
            if error.err_code == _NO_MESSAGE:
                return None
            raise


class Reader:
    """The messages of a stream under a subject, and later those that are added, page by page.

    Its consumer lies in the memory of the server: a server that starts again, or a stream that is
    made anew, does not know it any more. After any error messages may be missing: begin anew.
    """

    def __init__(self, js: JetStreamContext, stream: str, consumer: str, pending: int) -> None:
        self._js, self._stream, self._consumer = js, stream, consumer
        self._delivered = 0
        self.pending = pending
        """Messages that were not read yet, as far as is known."""

    @classmethod
    async def open(
        cls, js: JetStreamContext, stream: str, subject: str, *, values: bool = True
    ) -> "Reader":
        """Raises BusUnavailable. `values`: whether bodies are wanted; headers come in any case."""
        with translated(f"reading {stream}"):
            consumer = await js.add_consumer(
                stream,
                ConsumerConfig(
                    deliver_policy=DeliverPolicy.ALL,
                    ack_policy=AckPolicy.NONE,
                    filter_subject=subject,
                    headers_only=not values,
                    mem_storage=True,
                    inactive_threshold=60.0,
                ),
            )
        return cls(js, stream, consumer.name, consumer.num_pending or 0)

    async def more(self) -> Sequence[Msg]:
        """The next messages in the order of the stream; none: its end is reached for now.

        Raises:
            BusUnavailable: no answer, or messages were lost on the way.
        """
        with translated(f"reading {self._stream}"):
            page = await _pull(self._js, self._stream, self._consumer)
        self._delivered += len(page)
        if page and page[-1].metadata.sequence.consumer != self._delivered:
            raise BusUnavailable(f"reading {self._stream}: messages were lost on the way")
        self.pending = page[-1].metadata.num_pending if page else 0
        return page

    async def close(self) -> None:
        with contextlib.suppress(nats.errors.Error, TimeoutError):
            await self._js.delete_consumer(self._stream, self._consumer)


async def scan(
    js: JetStreamContext, stream: str, subject: str, *, values: bool = True
) -> AsyncGenerator[Msg, None]:
    """Every message that matches `subject` now, in the order of the stream; ends at its end.

    Args:
        values: whether the bodies are wanted; headers come in any case.

    Raises:
        BusUnavailable: no answer; start again.
    """
    reader = await Reader.open(js, stream, subject, values=values)
    try:
        while reader.pending:
            for message in await reader.more():
                yield message
    finally:
        await reader.close()


async def _pull(js: JetStreamContext, stream: str, consumer: str) -> Sequence[Msg]:
    request = {"batch": _PAGE_MESSAGES, "max_bytes": PAGE_BYTES, "no_wait": True}
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
    page, end = await replies_to(js, subject, request, most=_PAGE_MESSAGES)
    if not page and end.get("Status") != "404":
        raise nats.errors.NoRespondersError
    return page


async def replies_to(
    js: JetStreamContext, subject: str, request: Mapping[str, Any], *, most: int
) -> tuple[list[Msg], Mapping[str, str]]:
    """The messages that answer one request, and the headers of the status that ended them."""
    client = js._nc  # JetStreamContext shows no client, and has no request with many replies
    replies: list[Msg] = []
    ended: asyncio.Future[Mapping[str, str]] = asyncio.get_running_loop().create_future()

    async def on_reply(message: Msg) -> None:
        is_status = bool(message.headers and "Status" in message.headers)
        if not is_status:
            replies.append(message)
        if (is_status or len(replies) == most) and not ended.done():
            ended.set_result((is_status and message.headers) or {})

    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, cb=on_reply)
    try:
        async with answered(client, subject):
            await client.publish(subject, json.dumps(request).encode(), reply=inbox)
            return replies, await asyncio.wait_for(ended, TIMEOUT_S)
    finally:
        with contextlib.suppress(nats.errors.Error):
            await subscription.unsubscribe()
