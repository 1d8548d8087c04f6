"""With whom the texts of a part share the device, and the lane that its vectors take."""

from datetime import UTC, datetime

import pytest
from memory_ledger import MemoryLedger
from memory_vector_cache import MemoryCache

from services.embedder.embed import YOUNG_S, Embed
from shared.domain.events import Batch, Document, DocumentEnriched, PartRow
from shared.domain.ids import doc_key
from shared.domain.ordering import Revision, revise
from shared.domain.priority import BULK, EXPRESS
from shared.encoders.fake import FakeEncoder
from shared.observe.progress import Progress
from shared.ports import Delivery

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Asked(FakeEncoder):
    """Notes the calls."""

    def __init__(self):
        super().__init__(8)
        self.calls = []

    async def encode(self, texts):
        self.calls.append(len(texts))
        return await super().encode(texts)


def part(lane=EXPRESS):
    rows = tuple(PartRow(id=f"{n}", chunk_key=f"k{n}", born=1, text=f"text {n}") for n in range(3))
    return DocumentEnriched(
        document=Document(
            source="docs", path="a.md", doc_key=doc_key("docs", "a.md"), revision=7, changed_at=NOW
        ),
        batch=Batch(id="b", count=1, source="docs", started_at=NOW),
        generation="g1",
        rows=rows,
        lane=lane,
    )


async def embedded(delivery, lane=EXPRESS):
    encoder = Asked()
    embed = Embed("g1", MemoryLedger(), MemoryCache(), encoder, Progress())
    (event,) = await embed(part(lane), delivery)
    return encoder.calls, event


@pytest.mark.parametrize(
    ("delivery", "texts"),
    [
        (Delivery(1, age_s=0.9 * YOUNG_S), 3),
        (Delivery(1, age_s=YOUNG_S), 0),
        (Delivery(1, attempt=2), 0),
    ],
    ids=["young", "waited", "delivered again"],
)
async def test_a_part_of_an_overtaken_revision_is_left_out_unless_it_is_young(delivery, texts):
    ledger, progress = MemoryLedger(), Progress()
    newer = Revision(seq=8, outcome="removed", keys=(), changed_at=0.0)
    planned = revise(None, newer, source="docs", path="a.md", now=0.0)
    await ledger.update(part().document.doc_key, planned, expect=0)

    events = await Embed("g1", ledger, MemoryCache(), Asked(), progress)(part(), delivery)

    assert sum(event.count for event in events) == texts
    assert (progress.encoded, progress.overtaken) == (texts, 3 - texts)


@pytest.mark.parametrize("attempt", [1, 2, 9])
async def test_the_texts_of_a_part_go_together_however_often_it_was_delivered(attempt):
    made, event = await embedded(Delivery(1, attempt=attempt))
    _, first = await embedded(Delivery(1))

    assert made == [3]
    assert event.vectors == first.vectors


@pytest.mark.parametrize("lane", [EXPRESS, BULK])
async def test_vectors_take_the_lane_of_their_texts(lane):
    _, event = await embedded(Delivery(1), lane)

    assert event.lane == lane
