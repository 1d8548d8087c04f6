"""A webhook over ports in memory: its receiver, its record, and time that a test moves."""

import json
from collections import Counter
from dataclasses import dataclass

from memory_results import MemoryResults

from services.gateway.webhooks.runner import FOLDER, EventSelection, Runner
from shared.domain.errors import BusUnavailable, Conflict

ALL = EventSelection("g")
KEY = b"0123456789abcdef"


@dataclass(frozen=True)
class MemoryKept:
    data: bytes
    at: int


class MemoryRecords:
    """Implements `Records`."""

    def __init__(self):
        self.kept: dict[str, MemoryKept] = {}
        self.written = 0
        self.refusal = None
        self.away = False

    async def get(self, key):
        if self.away:
            raise BusUnavailable("away")
        return self.kept.get(key)

    async def put(self, key, data, *, expect=None):
        if self.refusal:
            raise self.refusal
        if self.away:
            raise BusUnavailable("away")
        now = self.kept[key].at if key in self.kept else 0
        if expect is not None and expect != now:
            raise Conflict(key)
        self.written += 1
        self.kept[key] = MemoryKept(data, self.written)
        return self.written


class MemoryReceiver:
    """Implements `Sender`; `fault(body)` says why it does not take an event."""

    def __init__(self):
        self.got, self.headers = [], []
        self.fault = lambda body: ""
        self.hold = None
        """An event of asyncio that every answer waits for."""

    async def __call__(self, body, headers):
        told = json.loads(body)
        self.headers.append(headers)
        if self.hold:
            await self.hold.wait()
        error = self.fault(told)
        self.got.append((told["id"], error))
        return error

    async def close(self):
        pass

    @property
    def taken(self):
        return Counter(id for id, error in self.got if not error)


class WebhookWorld:
    """Processes that send to one webhook."""

    def __init__(self):
        self.results, self.records = MemoryResults(), MemoryRecords()
        self.receiver, self.now = MemoryReceiver(), 1_800_000_000.0

    def process(self, choice=ALL):
        return Runner(
            "crm",
            choice,
            KEY,
            self.receiver,
            self.results,
            self.records,
            clock=lambda: self.now,
            monotonic=lambda: self.now,
        )

    def stored(self):
        return json.loads(self.records.kept[f"{FOLDER}.crm"].data)

    async def turns(self, *processes, seconds=10, step=1.0):
        """Let the processes work while time passes."""
        for _ in range(int(seconds / step)):
            for one in processes:
                one.denied = one.denied or await one._turned()
            self.now += step
