"""The door for submissions over memory."""

import json
from datetime import UTC, datetime

from memory_change_log import MemoryChangeLog
from memory_content import MemoryContent
from memory_kv import MemoryShelf

from services.producer.submissions.intake import AcceptSubmission, Fetch, Fetched
from services.producer.submissions.submission import SourceLimits
from shared.batches.members import BatchBook
from shared.domain.events import Receipt
from shared.ports import Delivery

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Replies:
    def __init__(self) -> None:
        self.sent: list[tuple[str, Receipt]] = []

    async def __call__(self, inbox: str, receipt: Receipt) -> None:
        self.sent.append((inbox, receipt))


async def no_web(source: str, url: str) -> Fetched:
    raise AssertionError(f"{source} asks for {url}")


class Door:
    """AcceptSubmission over memory, and a way to submit."""

    def __init__(
        self, log: MemoryChangeLog | None = None, fetch: Fetch = no_web, **limits: SourceLimits
    ) -> None:
        self.log = log or MemoryChangeLog()
        self.bodies = MemoryContent()
        self.delivery: dict[str, float] = {}
        """Age and attempt of the messages that follow."""
        self.replies = Replies()
        self.batches = BatchBook(MemoryShelf(), "g1")
        self.accept = AcceptSubmission(
            "g1", self.log, self.bodies, self.batches, self.replies, lambda: EPOCH, fetch, limits
        )

    async def submit(self, n: int, headers: dict[str, str] | None = None, **fields: object):
        data = json.dumps({"path": "a.md"} | fields).encode()
        return await self.raw(n, data, headers)

    async def raw(self, n: int, data: bytes, headers: dict[str, str] | None = None, to="inbox"):
        head = {"Instep-Reply-To": "_INBOX.me"} | (headers or {})
        delivery = Delivery(
            sequence=n, subject=f"documents.submitted.{to}", headers=head, **self.delivery
        )
        return await self.accept(data, delivery)

    @property
    def receipt(self) -> Receipt:
        return self.replies.sent[-1][1]
