"""Send submissions over NATS, as any other system would, and collect the receipts."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from services.cli.exits import unreachable
from services.cli.publish.submissions import Submission
from shared.bus.access.connect import Access, connect, refusal
from shared.bus.jetstream.publish import Outgoing, store
from shared.domain.errors import ConfigurationError, InstepError, PermanentError

IN_FLIGHT: Final = 256
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

        async def one(n: int, item: Submission) -> Sent:
            async with gate:
                answer = box.expect(str(n))
                message = Outgoing(
                    "INTAKE",
                    f"documents.submitted.{source}",
                    json.dumps({"schema": 1, **item.body}, ensure_ascii=False).encode(),
                    f"cli:{run}:{n}",
                    {"Instep-Reply-To": f"{inbox}.{n}"},
                )
                try:
                    await store(client.jetstream(), message)
                    receipt = await asyncio.wait_for(answer, wait_s)
                except TimeoutError:
                    return Sent(item, None)
                except ConfigurationError:
                    raise
                except PermanentError as error:
                    return Sent(item, None, str(error), "too_large")
                except InstepError as error:
                    return Sent(item, None, str(error), "bus_unavailable")
                return Sent(item, receipt)

        return await asyncio.gather(*(one(n, item) for n, item in enumerate(items)))


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
