"""Send submissions over NATS, as any other system would, and collect the receipts."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from services.cli.exits import unreachable
from services.cli.publish.submissions import PIECE_BYTES, Submission
from shared.bus.access.connect import Access, connect, refusal
from shared.bus.jetstream.publish import Outgoing, store
from shared.domain.errors import ConfigurationError, InstepError, PermanentError
from shared.domain.ids import content_hash, piece_of

IN_FLIGHT: Final = 256
OLDER_PRODUCER: Final = (
    "the producer is of an older version, which takes documents of up to 1 MB: upgrade it, or put "
    "the file into a watched folder"
)
RECEIPT_WAIT_S: Final = 30.0
"""The producer may be busy, or just starting."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The outcome of a submission. `receipt`: as answered, or None before an answer."""

    submission: Submission
    receipt: Mapping[str, Any] | None
    error: str = ""
    code: str = ""
    """Of the error."""


async def send(
    url: str,
    access: Access,
    source: str,
    items: Sequence[Submission],
    run: str,
    *,
    wait_s: float = RECEIPT_WAIT_S,
) -> list[Sent]:
    """Publish all and wait for the receipts.

    Args:
        access: the key of the publisher, where the bus requires keys.
        run: names this call: a repeated publish of the same item is stored once.
        wait_s: for each receipt; 0 where no producer runs.

    Raises:
        Stop: no bus answers.
        ConfigurationError: the bus refuses the key, or forbids it this source.
    """
    async with _connected(url, access) as client:
        box = _Inbox()
        inbox = client.new_inbox()
        await client.subscribe(f"{inbox}.*", cb=box.take)
        gate = asyncio.Semaphore(IN_FLIGHT)

        line = _Line(client, box, inbox, source, run, wait_s)
        large = asyncio.Lock()  # one in memory at a time

        async def one(n: int, item: Submission) -> Sent:
            async with gate:
                if item.large is None:
                    return await _sent(line, str(n), item)
                async with large:
                    return await _sent(line, str(n), item)

        return await asyncio.gather(*(one(n, item) for n, item in enumerate(items)))


@dataclass(frozen=True, slots=True)
class _Line:
    """The way to the producer, and back."""

    client: Client
    box: "_Inbox"
    inbox: str
    source: str
    run: str
    wait_s: float

    async def ask(self, token: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Store a submission and wait for its receipt; None: none came.

        Raises:
            InstepError: the bus did not take it.
        """
        answer = self.box.expect(token)
        message = Outgoing(
            "INTAKE",
            f"documents.submitted.{self.source}",
            json.dumps({"schema": 1, **body}, ensure_ascii=False).encode(),
            f"cli:{self.run}:{token}",
            {"Instep-Reply-To": f"{self.inbox}.{token}"},
        )
        await store(self.client.jetstream(), message)
        try:
            return await asyncio.wait_for(answer, self.wait_s)
        except TimeoutError:
            return None


async def _sent(line: _Line, token: str, item: Submission) -> Sent:
    """Send one submission; where it is large, its pieces before."""
    try:
        body, receipt = item.body, None
        if item.large is not None:
            data = await asyncio.to_thread(item.large)
            body = {**body, "pieces": piece_names(line.source, data)}
            receipt = await _pieces_sent(line, token, item.path, data)
        if receipt is None:
            receipt = await line.ask(token, body)
    except ConfigurationError:
        raise
    except OSError as error:
        return Sent(item, None, f"it cannot be read: {error.strerror}", "source_gone")
    except PermanentError as error:
        return Sent(item, None, str(error), "too_large")
    except InstepError as error:
        return Sent(item, None, str(error), "bus_unavailable")
    return Sent(item, receipt)


async def _pieces_sent(line: _Line, token: str, path: str, data: bytes) -> Mapping[str, Any] | None:
    """Send the pieces one by one. Returns the receipt of one that was refused.

    Where no producer answers, the bus keeps them all; only the first is waited for.
    """
    for n, at in enumerate(range(0, len(data), PIECE_BYTES)):
        encoded = base64.b64encode(data[at : at + PIECE_BYTES]).decode()
        body = {"op": "piece", "path": path, "data_base64": encoded}
        receipt = await line.ask(f"{token}-{n}", body)
        if receipt is None:
            line = replace(line, wait_s=0.0)
        elif receipt.get("state") == "refused":
            if str(receipt.get("detail")).startswith("op:"):
                return {**receipt, "code": "too_large", "detail": OLDER_PRODUCER}
            return receipt
    return None


def piece_names(source: str, data: bytes) -> list[str]:
    """The names that the producer gives to the pieces of a document."""
    starts = range(0, len(data), PIECE_BYTES)
    return [content_hash(piece_of(source, data[at : at + PIECE_BYTES])) for at in starts]


class _Inbox:
    """Receipts by the last token of the subject that they come to."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[Mapping[str, Any]]] = {}

    def expect(self, token: str) -> "asyncio.Future[Mapping[str, Any]]":
        self._waiting[token] = asyncio.get_running_loop().create_future()
        return self._waiting[token]

    async def take(self, message: Msg) -> None:
        waiting = self._waiting.pop(message.subject.rpartition(".")[2], None)
        if waiting and not waiting.done():
            with contextlib.suppress(ValueError):
                waiting.set_result(json.loads(message.data))


@contextlib.asynccontextmanager
async def _connected(url: str, access: Access) -> AsyncIterator[Client]:
    async def quiet(_: Exception) -> None:
        """Silences the client, which prints every attempt by default."""

    try:
        client = await connect(
            url,
            access,
            connect_timeout=3,
            max_reconnect_attempts=1,
            error_cb=quiet,
            name="instep publish",
        )
    except (NatsError, OSError, TimeoutError) as error:
        if why := refusal(error):
            raise ConfigurationError(f"the NATS server {why}") from None
        kind = type(error).__name__
        raise unreachable(f"the message bus does not answer ({kind})", "instep doctor") from None
    try:
        yield client
    finally:
        with contextlib.suppress(NatsError, TimeoutError):
            await client.close()
