"""From bytes to events."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.delivery.decode import decode
from shared.domain.errors import MalformedEvent
from shared.domain.events import (
    Batch,
    Document,
    DocumentChanged,
    DocumentIndexed,
    DocumentRemoved,
    Inline,
)
from shared.domain.ids import doc_key
from shared.domain.topology import ACCEPT, embed_stage, enrich_stage, validate_stage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DOCUMENT = Document(source="docs", path="a.md", doc_key=doc_key("docs", "a.md"), changed_at=NOW)
BATCH = Batch(id="b", count=1, source="docs", started_at=NOW)
CHANGE = DocumentChanged(
    document=DOCUMENT, batch=BATCH, op="upserted", content=Inline(data="the secret text")
)


def read(stage, data, *, subject, headers=None, sequence=7):
    return decode(stage, subject=subject, data=data, headers=headers or {}, sequence=sequence)


def test_a_change_learns_its_revision_from_its_sequence():
    data = CHANGE.model_dump_json().encode()

    event = read(enrich_stage("g1"), data, subject=CHANGE.subject, sequence=1_700_000_000_000_042)

    assert event.document.revision == 1_700_000_000_000_042
    assert event.content == CHANGE.content


def test_a_results_stage_reads_each_event_by_its_subject():
    removed = DocumentRemoved(document=DOCUMENT, batch=BATCH, generation="g1", removed_at=NOW)
    data = removed.model_dump_json().encode()

    event = read(validate_stage("g1"), data, subject=removed.subject)

    assert event == removed


@given(st.binary(max_size=200))
def test_bytes_that_are_no_event_are_malformed_and_nothing_else(data):
    with pytest.raises(MalformedEvent):
        read(embed_stage("g1"), data, subject="documents.enriched.g1.docs")


def test_an_event_on_the_subject_of_another_document_is_malformed():
    data = CHANGE.model_dump_json().encode()

    with pytest.raises(MalformedEvent):
        read(enrich_stage("g1"), data, subject=f"documents.changed.other.{DOCUMENT.doc_key}")


def test_a_word_that_no_result_has_is_malformed():
    with pytest.raises(MalformedEvent):
        read(validate_stage("g1"), b"{}", subject="documents.guessed.g1.docs")


@pytest.mark.parametrize(
    "change",
    [
        {"document": {"path": ["secret"]}},
        {"content": {"kind": "secret"}},
        {"op": "secret"},
        {"metadata": {"secret": ["x"]}},
        {"batch": "secret"},
    ],
)
def test_what_is_said_of_a_malformed_event_quotes_nothing_of_it(change):
    data = json.dumps({**json.loads(CHANGE.model_dump_json()), **change}).encode()

    with pytest.raises(MalformedEvent) as caught:
        read(enrich_stage("g1"), data, subject=CHANGE.subject)

    assert "secret" not in str(caught.value)
    assert next(iter(change)) in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_submission_may_come_as_a_structured_cloud_event():
    command = {"path": "a.md", "text": "hello"}
    plain = {"specversion": "1.0", "type": "instep.document.submitted.v1", "data": command}
    packed = {"data_base64": base64.b64encode(json.dumps(command).encode()).decode()}

    events = [
        read(
            ACCEPT,
            json.dumps(envelope).encode(),
            subject="documents.submitted.inbox",
            headers={"Content-Type": "application/cloudevents+json; charset=utf-8"},
        )
        for envelope in (plain, packed)
    ]

    assert [event.text for event in events] == ["hello", "hello"]


def test_a_newer_writer_may_add_fields():
    indexed = DocumentIndexed(
        document=DOCUMENT,
        batch=BATCH,
        generation="g1",
        indexed_at=NOW,
        freshness_s=1.5,
        vector_count=3,
    )
    data = json.dumps({**json.loads(indexed.model_dump_json()), "tomorrow": 1}).encode()

    assert read(validate_stage("g1"), data, subject=indexed.subject) == indexed
