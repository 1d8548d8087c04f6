"""A document is sent again for one generation after another; DOCS keeps its newest change only."""

from datetime import UTC, datetime

import pytest
from memory_change_log import MemoryChangeLog

from services.enricher.parts import revision_of
from shared.domain.events import Batch, Document, DocumentChanged, Inline
from shared.domain.ids import doc_key
from shared.repair import resubmit

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = doc_key("docs", "a.md")


@pytest.fixture
async def log():
    """One document, as its source sent it."""
    log = MemoryChangeLog()
    change = DocumentChanged(
        document=Document(source="docs", path="a.md", doc_key=KEY, changed_at=NOW),
        batch=Batch(id="b", count=1, source="docs", started_at=NOW),
        op="upserted",
        content=Inline.of(b"text"),
    )
    await log.append(change, expect=0, message_id="m")
    return log


async def sent_again(log, *generations):
    for generation in generations:
        assert await resubmit(log, "docs", KEY, generation=generation)
    return (await log.newest("docs", KEY)).readable


def anew(change, generation):
    """Whether an enricher of the generation writes every row anew."""
    return revision_of(change, None, generation).repair


async def test_what_was_asked_for_another_generation_is_not_forgotten(log):
    change = await sent_again(log, "gold", "gnew")

    assert (anew(change, "gold"), anew(change, "gnew"), anew(change, "gother")) == (1, 1, 0)


async def test_a_generation_is_named_once_however_often_it_is_asked_for(log):
    change = await sent_again(log, "gold", "gnew", "gold", "gold")

    assert (change.repair, change.repairs) == ("gold", ("gnew",))


async def test_a_version_that_knows_of_one_generation_reads_the_one_asked_for_last(log):
    raw = (await sent_again(log, "gold", "gnew")).model_dump(mode="json")

    assert raw["repair"] == "gnew"


async def test_a_new_change_asks_for_no_repair(log):
    change = (await log.newest("docs", KEY)).readable

    assert change.repaired == frozenset()
