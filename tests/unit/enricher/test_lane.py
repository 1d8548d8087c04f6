"""The lane that the parts of a revision take."""

from datetime import UTC, datetime

import pytest
from memory_change_log import MemoryChangeLog
from memory_ledger import MemoryLedger

from services.enricher.enrich import Enrich
from shared.domain.events import Batch, Document, DocumentChanged
from shared.domain.ids import doc_key
from shared.domain.priority import BULK, BURST_ROWS, EXPRESS, HEADER
from shared.observe.progress import Progress
from shared.ports import Delivery

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXPRESSLY, IN_BULK = Delivery(1), Delivery(1, headers={HEADER: BULK})


def deleted(number=0):
    path = f"{number}.md"
    key = doc_key("docs", path)
    return DocumentChanged(
        document=Document(source="docs", path=path, doc_key=key, revision=7, changed_at=NOW),
        batch=Batch(id="b", count=1, source="docs", started_at=NOW),
        op="deleted",
    )


@pytest.fixture
def enrich():
    async def nothing(event):
        raise AssertionError("a deletion has no content")

    return Enrich("g1", MemoryLedger(), MemoryChangeLog(), nothing, lambda: NOW, Progress())


@pytest.mark.parametrize(("delivery", "lane"), [(EXPRESSLY, EXPRESS), (IN_BULK, BULK)])
async def test_parts_take_the_lane_of_their_change(enrich, delivery, lane):
    (event,) = await enrich(deleted(), delivery)

    assert event.lane == lane
    assert event.subject.endswith(".bulk") == (lane == BULK)


async def test_parts_above_the_allowance_of_their_source_are_bulk(enrich):
    lanes = [(await enrich(deleted(n), EXPRESSLY))[0].lane for n in range(BURST_ROWS + 1)]

    assert lanes == [EXPRESS] * BURST_ROWS + [BULK]
