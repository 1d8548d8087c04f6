"""What is told about a submission that does not fit does not grow with what is wrong."""

import json

import pytest
from pydantic import ValidationError

from shared.domain import submissions
from shared.domain.errors import DocumentRefused
from shared.domain.events import DocumentChanged, DocumentSubmitted, EmbeddingsReady, malformed

MANY = 40_000
WRONG = {
    "metadata": {f"k{n}": [] for n in range(MANY)},
    "chunks": [{} for _ in range(MANY)],
    "heading": [{"text": "x", "heading": list(range(MANY))}],
}


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "x", "metadata": WRONG["metadata"]},
        {"chunks": WRONG["chunks"]},
        {"chunks": WRONG["heading"]},
        {"text": "x", "x" * 900_000: 1, "op": "y" * 900_000},
        {"path": {"x" * 900_000: {}}, "source_version": "z" * 900_000},
        {"text": "x", "batch": {"x" * 900_000: 1}},
    ],
    ids=["metadata", "chunks", "headings", "names", "values", "batch"],
)
def test_a_submission_with_any_number_of_faults_is_refused_in_a_sentence(fields):
    data = json.dumps({"path": "a.md"} | fields).encode()

    with pytest.raises(DocumentRefused) as refused:
        submissions.read(data, {})
    assert len(str(refused.value)) < 500
    with pytest.raises(ValidationError) as invalid:
        DocumentSubmitted.model_validate_json(data)
    assert invalid.value.error_count() < 30
    assert len(str(malformed(invalid.value))) < 500


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (DocumentChanged, {"metadata": WRONG["metadata"]}),
        (DocumentChanged, {"content": {"kind": "chunks", "chunks": WRONG["chunks"]}}),
        (EmbeddingsReady, {"rows": WRONG["chunks"]}),
        (EmbeddingsReady, {"rows": [{"metadata": WRONG["metadata"]}]}),
    ],
)
def test_no_event_has_more_faults_than_fields(event, fields):
    with pytest.raises(ValidationError) as invalid:
        event.model_validate_json(json.dumps(fields))
    assert invalid.value.error_count() < 60
    assert len(str(malformed(invalid.value))) < 500


@pytest.mark.parametrize("score", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_score_that_is_no_finite_number_is_refused(score):
    data = f'{{"path": "a.md", "text": "x", "static_score": {score}}}'.encode()

    with pytest.raises(DocumentRefused, match="static_score: must be a finite number"):
        submissions.check_attributes(submissions.read(data, {}))


@pytest.mark.parametrize(("score", "read"), [("0.5", 0.5), ("-1e300", -1e300), ("7", 7.0)])
def test_any_finite_number_is_a_score(score, read):
    event = submissions.read(
        f'{{"path": "a.md", "text": "x", "static_score": {score}}}'.encode(), {}
    )

    submissions.check_attributes(event)
    assert (event.static_score, event.is_active) == (read, True)
