"""Headers of what is published."""

from datetime import UTC, datetime

from shared.bus.delivery.dead_letters import Origin, outgoing
from shared.bus.jetstream.publish import Outgoing, cloud_headers
from shared.domain.events import Batch, BatchCompleted, Document, DocumentEnriched, DocumentIndexed
from shared.domain.ids import doc_key

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PATH = "übung/ein plan.md"
DOCUMENT = Document(source="docs", path=PATH, doc_key=doc_key("docs", PATH), changed_at=NOW)
BATCH = Batch(id="b 1", count=1, source="docs", started_at=NOW)
INDEXED = DocumentIndexed(
    document=DOCUMENT,
    batch=BATCH,
    generation="g1",
    indexed_at=NOW,
    freshness_s=1.5,
    vector_count=3,
)


def test_results_carry_cloud_events_headers_in_ascii():
    headers = cloud_headers(INDEXED, "the-id", "laptop")

    assert headers == {
        "ce-specversion": "1.0",
        "ce-id": "the-id",
        "ce-type": "instep.document.indexed.v1",
        "ce-source": "/instep/laptop",
        "ce-subject": "docs/%C3%BCbung/ein%20plan.md",
        "ce-datacontenttype": "application/json",
        "ce-dataschema": "urn:instep:document:indexed:1",
        "ce-time": "2026-01-01T00:00:00Z",
    }


def test_a_completed_batch_is_a_cloud_event_about_the_batch():
    event = BatchCompleted(batch=BATCH, generation="g1", completed_at=NOW)

    headers = cloud_headers(event, "x", "laptop")

    assert headers["ce-type"] == "instep.batch.completed.v1"
    assert headers["ce-subject"] == "docs/b%201"


def test_inner_events_are_no_cloud_events():
    part = DocumentEnriched(document=DOCUMENT, batch=BATCH, generation="g1", rows=())

    assert cloud_headers(part, "x", "laptop") == {}


def test_every_message_names_its_stream_and_carries_an_id():
    headers = Outgoing("DOCS", "documents.changed.s.k", b"{}", "i:7").all_headers()

    assert headers["Nats-Expected-Stream"] == "DOCS"
    assert headers["Nats-Msg-Id"] == "i:7"
    assert headers["content-type"] == "application/json"


def test_a_dead_letter_leaves_a_body_behind_that_would_not_fit_with_its_headers():
    letters = [
        outgoing(Origin("DOCS", "c", 7, 1), subject="s", data=b"x" * size, headers={})
        for size in (1000, 1024 * 1024)
    ]

    assert [len(letter.data) for letter in letters] == [1000, 0]
    assert letters[1].headers["Dlq-Size"] == "1048576"
