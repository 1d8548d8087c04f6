"""Submissions to INTAKE, and the receipts that the producer answers them with."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from shared.bus.jetstream.publish import TIMEOUT_S, Outgoing, store
from shared.domain.errors import BusUnavailable
from shared.domain.submissions import encoded
from shared.ports import Submitted

RECEIPT_WAIT_S: Final = 30.0
"""The producer may be busy, or just starting."""


class IntakeClient:
    """Implements `shared.ports.Intake`: hears receipts at an inbox of its own.

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
    ) -> Submitted:
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
            return Submitted(sequence, duplicate, receipt)
        finally:
            self._waiting.pop(token, None)

    async def _take(self, message: Msg) -> None:
        waiting = self._waiting.get(message.subject.rpartition(".")[2])
        if waiting and not waiting.done():
            with contextlib.suppress(ValueError):
                waiting.set_result(json.loads(message.data))
