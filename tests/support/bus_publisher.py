"""A program that publishes over NATS, with the key of a publisher, and collects the receipts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from nats.aio.client import Client
from nats.errors import Error as NatsError

from services.cli.exits import unreachable
from services.cli.publish.submissions import Submission
from shared.bus.access.connect import Access, connect, refusal
from shared.bus.jetstream.intake import RECEIPT_WAIT_S, IntakeClient
from shared.domain.errors import ConfigurationError, InstepError, PermanentError
from shared.domain.ids import content_hash, piece_of
from shared.domain.submissions import PIECE_BYTES, piece_body

IN_FLIGHT: Final = 256
OLDER_PRODUCER: Final = (
    "the producer is of an older version, which takes documents of up to 1 MB: upgrade it, or put "
    "the file into a watched folder"
)


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
        intake = IntakeClient(client, client.jetstream(), client.new_inbox())
        await intake.open()
        gate = asyncio.Semaphore(IN_FLIGHT)

        line = _Line(intake, source, run, wait_s)
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

    intake: IntakeClient
    source: str
    run: str
    wait_s: float

    async def ask(self, token: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Store a submission and wait for its receipt; None: none came.

        Raises:
            InstepError: the bus did not take it.
        """
        stored = await self.intake.submit(
            self.source,
            body,
            token=token,
            message_id=f"cli:{self.run}:{token}",
            wait_s=self.wait_s,
        )
        return stored.receipt


async def _sent(line: _Line, token: str, item: Submission) -> Sent:
    """Send one submission; where it is large, its pieces before."""
    try:
        body, receipt = item.body, None
        if item.large is not None:
            data = item.large if isinstance(item.large, bytes) else item.large.read_bytes()
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
        body = piece_body(path, data[at : at + PIECE_BYTES])
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
