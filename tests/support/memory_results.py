"""RESULTS in memory."""

from shared.domain.errors import BusUnavailable
from shared.ports import StoredResult


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

    async def next(self, after):
        self.asked += 1
        if self.away:
            raise BusUnavailable("away")
        return next((one for one in self.messages if one.sequence > after), None)

    async def bounds(self):
        if self.away:
            raise BusUnavailable("away")
        return (self.messages[0].sequence if self.messages else self.last + 1), self.last
