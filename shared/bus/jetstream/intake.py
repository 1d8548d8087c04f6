"""Submissions to INTAKE, and the receipts that the producer answers them with."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from shared.bus.jetstream.publish import TIMEOUT_S, Outgoing, store
from shared.domain.errors import BusUnavailable
from shared.domain.submissions import encoded

RECEIPT_WAIT_S: Final = 30.0
"""The producer may be busy, or just starting."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A submission that the bus has.

    sequence: of its message in INTAKE; the first one's where the same message id came before.
    receipt: as the producer answered, or None before an answer.
    """

    sequence: int
    duplicate: bool
    receipt: Mapping[str, Any] | None


class IntakeClient:
    """Publishes submissions, and hears their receipts at an inbox of its own.

    Args:
        inbox: the subject's beginning; the producer answers at `INBOX.TOKEN`.
    """

    def __init__(self, client: Client, js: JetStreamContext, inbox: str) -> None:
        self._client, self._js, self._inbox = client, js, inbox
        self._waiting: dict[str, asyncio.Future[Mapping[str, Any]]] = {}
        self._opening = asyncio.Lock()
        self._is_open = False

    async def open(self) -> None:
        """Listen for receipts. Raises BusUnavailable; repeating is safe."""
        async with self._opening:
            if self._is_open:
                return
            try:
                await self._client.subscribe(f"{self._inbox}.*", cb=self._take)
                await self._client.flush(int(TIMEOUT_S))  # a receipt may be as fast as the request
            except (NatsError, TimeoutError) as error:
                raise BusUnavailable(f"no inbox for receipts: {type(error).__name__}") from None
            self._is_open = True

    async def submit(
        self,
        source: str,
        body: Mapping[str, Any],
        *,
        token: str,
        message_id: str,
        wait_s: float = RECEIPT_WAIT_S,
    ) -> Stored:
        """Store a submission and wait for its receipt.

        Args:
            token: names the wait; a part of a subject.
            message_id: the bus stores the submissions with one id once.

        Raises:
            PermanentError: it is larger than a message may be.
            ConfigurationError: the key of this process may not publish for the source.
            BusUnavailable: it may not be stored. StreamFull: it is not.
        """
        answer = self._waiting[token] = asyncio.get_running_loop().create_future()
        message = Outgoing(
            "INTAKE",
            f"documents.submitted.{source}",
            encoded({"schema": 1, **body}),
            message_id,
            {"Instep-Reply-To": f"{self._inbox}.{token}"},
        )
        try:
            acknowledged = await store(self._js, message)
            sequence, duplicate = acknowledged.seq, bool(acknowledged.duplicate)
            receipt = None
            with contextlib.suppress(TimeoutError):
                if not duplicate:  # it was answered at the first inbox
                    receipt = await asyncio.wait_for(answer, wait_s)
            return Stored(sequence, duplicate, receipt)
        finally:
            self._waiting.pop(token, None)

    async def _take(self, message: Msg) -> None:
        waiting = self._waiting.get(message.subject.rpartition(".")[2])
        if waiting and not waiting.done():
            with contextlib.suppress(ValueError):
                waiting.set_result(json.loads(message.data))
