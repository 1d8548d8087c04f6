"""Parts of one document go one after the other, those of others beside them."""

import asyncio
from datetime import UTC, datetime

import pytest

from services.indexer.index import InTurn, by_lane
from shared.domain.events import Batch, Document, EmbeddingsReady
from shared.domain.ids import doc_key
from shared.domain.priority import BULK
from shared.ports import Delivery

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def part(path: str) -> EmbeddingsReady:
    key = doc_key("docs", path)
    return EmbeddingsReady(
        document=Document(source="docs", path=path, doc_key=key, revision=1, changed_at=NOW),
        batch=Batch(id="b", count=1, source="docs", started_at=NOW),
        generation="g",
    )


class Handler:
    """Notes how many parts of a document are handled at once, and of how many documents."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.most_of_one = self.most = 0
        self.failing = False

    async def __call__(self, some: EmbeddingsReady, _: Delivery):
        self.running.append(some.document.path)
        self.most_of_one = max(self.most_of_one, self.running.count(some.document.path))
        self.most = max(self.most, len(self.running))
        await asyncio.sleep(0)
        self.running.remove(some.document.path)
        if self.failing:
            raise RuntimeError
        return []


async def test_parts_of_one_document_take_turns_and_documents_do_not_wait_for_each_other():
    handler = Handler()
    in_turn = InTurn(handler)
    await asyncio.gather(*(in_turn(part(p), Delivery(1)) for p in ("a.md", "b.md") * 5))

    assert (handler.most_of_one, handler.most) == (1, 2)


async def test_a_part_that_fails_lets_the_next_one_go():
    handler = Handler()
    in_turn = InTurn(handler)
    handler.failing = True
    with pytest.raises(RuntimeError):
        await in_turn(part("a.md"), Delivery(1))
    handler.failing = False

    assert await in_turn(part("a.md"), Delivery(1)) == []


async def test_a_part_is_handled_by_the_handler_of_its_lane():
    handled = []

    def handler(name):
        async def handle(some: EmbeddingsReady, delivery: Delivery):
            handled.append((name, some.document.path, delivery.attempt))
            return [some]

        return handle

    handle = by_lane(handler("express"), handler("bulk"))
    small, large = part("a.md"), part("b.md").model_copy(update={"lane": BULK})

    assert await handle(small, Delivery(1)) == [small]
    assert await handle(large, Delivery(2, attempt=3)) == [large]
    assert handled == [("express", "a.md", 1), ("bulk", "b.md", 3)]
