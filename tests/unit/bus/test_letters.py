"""Which document a dead letter of DOCS is about: its subject says it, whatever its bytes claim."""

import json
from datetime import UTC, datetime

import pytest

from shared.bus.delivery.dead_letters import _letter
from shared.domain.ids import doc_key

AT = datetime(2026, 1, 1, tzinfo=UTC)
KEY, OTHER = doc_key("docs", "a.md"), doc_key("docs", "b.md")


def claim(path, key, source="docs"):
    return {"source": source, "path": path, "doc_key": key, "changed_at": AT.isoformat()}


def letter(told, *, subject=f"documents.changed.docs.{KEY}", stream="DOCS"):
    headers = {"Dlq-Subject": subject, "Dlq-Seq": "7", "Dlq-Document": json.dumps(told)}
    return _letter(1, f"dlq.{stream}.enricher_g1", headers, b"", AT)


def test_a_document_that_fits_the_subject_is_told_with_the_sequence_as_its_revision():
    found = letter(claim("a.md", KEY)).document

    assert (found.path, found.doc_key, found.revision) == ("a.md", KEY, 7)


@pytest.mark.parametrize(
    "told",
    [
        claim("b.md", OTHER),
        claim("b.md", KEY),
        claim("a.md", KEY, "inbox"),
        claim("../a.md", KEY),
        None,
        "text",
    ],
    ids=["another document", "another path", "another source", "no path", "nothing", "no object"],
)
def test_bytes_that_claim_anything_else_are_of_the_document_of_the_subject_without_a_path(told):
    found = letter(told).document

    assert (found.source, found.doc_key, found.path, found.revision) == ("docs", KEY, "", 7)


@pytest.mark.parametrize("subject", ["documents.changed.docs.k1", f"documents.changed.X.{KEY}", ""])
def test_a_subject_that_no_document_can_have_is_of_no_document(subject):
    assert letter(claim("b.md", OTHER), subject=subject).document is None


def test_parts_name_their_documents_themselves():
    found = letter(claim("b.md", OTHER) | {"revision": 5}, stream="CHUNKS").document

    assert (found.doc_key, found.revision) == (OTHER, 5)
