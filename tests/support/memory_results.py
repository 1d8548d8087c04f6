"""RESULTS in memory, and outcomes to fill it with."""

from datetime import UTC, datetime, timedelta

from shared.domain.errors import BusUnavailable
from shared.domain.events import Batch, Document, DocumentIndexed
from shared.domain.ids import doc_key
from shared.ports import StoredResult

AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def named(n, generation="g"):
    """The fields that every outcome of document `n` has."""
    path = f"{n}.md"
    key = doc_key("docs", path)
    return {
        "document": Document(source="docs", path=path, doc_key=key, revision=n, changed_at=AT),
        "batch": Batch(id="b", count=1, source="docs", started_at=AT),
        "generation": generation,
    }


def indexed(n, generation="g", **more):
    return DocumentIndexed(
        **named(n, generation),
        indexed_at=AT + timedelta(seconds=1),
        freshness_s=1.0,
        vector_count=2,
        **more,
    )


class MemoryResults:
    """Implements `shared.ports.Results`; `put` publishes, `lose` takes the oldest."""

    def __init__(self):
        self.messages: list[StoredResult] = []
        self.last = 0
        self.away = False
        self.asked = 0

    def put(self, event) -> int:
        self.last += 1
        data = event if isinstance(event, bytes) else event.model_dump_json().encode()
        subject = "documents.indexed.g.docs" if isinstance(event, bytes) else event.subject
        self.messages.append(StoredResult(self.last, subject, data))
        return self.last

    def lose(self, count: int) -> None:
        del self.messages[:count]

    async def next(self, after, source=""):
        self.asked += 1
        if self.away:
            raise BusUnavailable("away")
        wanted = (
            one
            for one in self.messages
            if one.sequence > after and one.subject.endswith(f".{source}" if source else "")
        )
        return next(wanted, None)

    async def bounds(self):
        if self.away:
            raise BusUnavailable("away")
        return (self.messages[0].sequence if self.messages else self.last + 1), self.last
