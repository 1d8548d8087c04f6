"""Sessions on a real server, and events to send."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from nats.js import JetStreamContext

from shared.bus.admin.provision import ensure_consumer, provision
from shared.bus.session import BusSession
from shared.domain.errors import InstepError
from shared.domain.events import Batch, Document, DocumentChanged, DocumentEnriched, Inline, PartRow
from shared.domain.ids import doc_key
from shared.domain.topology import Stage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = Batch(id="b", count=1, source="docs", started_at=NOW)

Opener = Callable[..., Awaitable[BusSession]]


def document(path: str) -> Document:
    return Document(source="docs", path=path, doc_key=doc_key("docs", path), changed_at=NOW)


@pytest.fixture
def changed() -> Callable[..., DocumentChanged]:
    def make(path: str = "a.md", text: str = "hello", **more: Any) -> DocumentChanged:
        return DocumentChanged(
            document=document(path),
            batch=BATCH,
            op="upserted",
            content=Inline(data=text),
            **more,
        )

    return make


@pytest.fixture
def part() -> Callable[..., DocumentEnriched]:
    def make(path: str = "a.md", text: str = "hello") -> DocumentEnriched:
        row = PartRow(id="1", chunk_key="k", born=1, text=text)
        return DocumentEnriched(document=document(path), batch=BATCH, generation="g1", rows=(row,))

    return make


@pytest.fixture
async def provisioned(js: JetStreamContext) -> JetStreamContext:
    await provision(js, generation="g1")
    return js


@pytest.fixture
async def open_session(nats_url: str) -> AsyncIterator[Opener]:
    """`await open_session(stage, handler)`: a session that consumes, closed after the test.

    `fatal` collects what would have ended the process.
    """
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            *pairs: Any, url: str = nats_url, fatal: list[BaseException] | None = None, **more: Any
        ) -> BusSession:
            ends = [] if fatal is None else fatal
            more = {"name": "test", "drain_s": 5.0, **more}
            session = await BusSession.open(url, on_fatal=ends.append, **more)

            async def close() -> None:
                with contextlib.suppress(InstepError):
                    await session.close()

            stack.push_async_callback(close)
            for stage, handler in zip(pairs[::2], pairs[1::2], strict=True):
                await ensure_consumer(session.js, stage)
                session.subscribe(stage, handler)
            await session.start()
            return session

        yield start


@pytest.fixture
def quick() -> Callable[..., Stage[Any]]:
    """A stage with some fields changed."""

    def change(stage: Stage[Any], **fields: Any) -> Stage[Any]:
        return replace(stage, **fields)

    return change
