"""What lies in DOCS: a change, or something else of which a few facts are known."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.delivery.outcome import code_of
from shared.domain.codecs.change_codec import UnreadableChange, from_bytes
from shared.domain.errors import MalformedEvent, NewerSchema
from shared.domain.events import Batch, Document, DocumentChanged
from shared.domain.ids import doc_key
from shared.domain.ordering import (
    MALFORMED,
    NEWER_SCHEMA,
    Failed,
    Reason,
    Record,
    Revision,
    revise,
    settle,
    state,
)
from shared.domain.submissions import MAX_VERSION, stale

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = doc_key("docs", "a.md")
FIELDS = ["schema", "document", "intake", "source_version", "of_folder", "origin", "op"]
SECRET = "the secret of the lighthouse"


def change(**more):
    document = {"source": "docs", "path": "a.md", "doc_key": KEY, "changed_at": NOW}
    return DocumentChanged(
        document=Document(**document | more.pop("document", {})),
        batch=Batch(id="b", count=1, source="docs", started_at=NOW),
        op="deleted",
        **more,
    )


def read(data):
    return from_bytes(data, source="docs", key=KEY, sequence=9)


def newer(**fields):
    return read(json.dumps({"schema": 2} | fields).encode())


def test_a_change_has_the_sequence_of_its_message_as_its_revision():
    found = read(change().model_dump_json().encode())

    assert (found.document.revision, found.op) == (9, "deleted")


@given(st.one_of(st.binary(max_size=200), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(FIELDS), inner, max_size=6,
    ), max_leaves=9,
).map(lambda value: json.dumps(value).encode())))  # fmt: skip
def test_whatever_the_bytes_are_they_are_a_change_or_are_told_as_unreadable(data):
    found = read(data)

    assert isinstance(found, UnreadableChange)
    assert found.reason.text
    assert 0 <= found.intake < 2**53
    assert found.source_version is None or abs(found.source_version) < 2**63


@pytest.mark.parametrize(
    "document",
    [
        {"path": f"{SECRET}.md"},
        {"source": "inbox", "doc_key": doc_key("inbox", "a.md")},
        {"path": f"../{SECRET}", "doc_key": doc_key("docs", f"../{SECRET}")},
    ],
    ids=["of another path", "of another source", "of no path"],
)
def test_a_change_of_another_document_than_its_subject_s_is_none(document):
    found = read(change(document=document).model_dump_json().encode())

    assert isinstance(found, UnreadableChange)
    assert SECRET not in found.reason.text


def test_garbage_quotes_nothing_and_numbers_nothing():
    found = read(json.dumps({"op": SECRET, "intake": 7, "source_version": 7}).encode())

    assert SECRET not in found.reason.text
    assert (found.reason.code, found.intake, found.source_version) == (MALFORMED, 0, None)


def test_what_a_newer_version_has_written_is_named_and_keeps_its_place_in_the_order():
    found = newer(intake=7, source_version=-3, origin="watch", content=SECRET)

    assert found.reason == Reason(NEWER_SCHEMA, "written by a newer version of instep: schema 2")
    assert (found.intake, found.source_version, found.origin) == (7, -3, "watch")


@pytest.mark.parametrize(
    ("fields", "origin"),
    [
        ({"of_folder": True}, "watch"),
        ({"of_folder": False}, None),
        ({}, None),
        ({"origin": "watch", "of_folder": True}, "watch"),
        ({"origin": "submission", "of_folder": False}, "submission"),
        ({"origin": "of a newer version", "of_folder": False}, "of a newer version"),
    ],
)
def test_the_origin_is_that_which_an_older_or_a_newer_version_has_written(fields, origin):
    written = change(intake=7).model_dump(mode="json")
    del written["origin"], written["of_folder"]

    found = read(json.dumps(written | fields).encode())

    assert (found.origin, newer(**fields).origin) == (origin, origin)


@pytest.mark.parametrize(("origin", "is_of_folder"), [("watch", True), ("submission", False)])
def test_a_version_before_the_origin_reads_what_it_knows(origin, is_of_folder):
    written = json.loads(change(origin=origin).model_dump_json())

    assert (written["origin"], written["of_folder"]) == (origin, is_of_folder)


@pytest.mark.parametrize("version", [1_767_225_600_000_000_000, MAX_VERSION, -MAX_VERSION])
def test_every_version_that_a_publisher_may_give_keeps_an_older_submission_out(version):
    found = newer(intake=7, source_version=version)

    assert found.source_version == version
    assert stale(version - 1, intake=8, last=found)


@pytest.mark.parametrize("odd", ["x", None, [], 2**63, -(2**63), 1e300, True])
def test_odd_numbers_of_a_newer_version_are_left_out(odd):
    found = newer(intake=odd, source_version=odd)

    assert 0 <= found.intake <= 1
    assert found.source_version in (None, True)


@pytest.mark.parametrize("schema", [0, -1, "2", None, 2.5, [2], True])
def test_only_a_greater_number_is_a_newer_schema(schema):
    found = newer(schema=schema)

    assert isinstance(found, UnreadableChange) or schema is True
    assert found.reason.code == MALFORMED


def test_the_codes_are_those_of_the_errors():
    assert code_of(MalformedEvent("x")) == MALFORMED
    assert code_of(NewerSchema("x")) == NEWER_SCHEMA


# -- in the ledger ---------------------------------------------------------------------------------


def revised(seq, record=None):
    return revise(record, Revision(seq, "removed", (), 0.0), source="docs", path="a.md", now=0.0)


def failed(record, seq, *, stage="enrich", code=MALFORMED):
    return Record(
        record.source, record.path, record.settled, record.pending,
        Failed(seq, stage, Reason(code, "x")), record.version,
    )  # fmt: skip


@pytest.mark.parametrize("code", [MALFORMED, NEWER_SCHEMA])
def test_the_end_of_an_older_revision_does_not_hide_that_the_newest_change_cannot_be_read(code):
    record = failed(revised(5), 7, code=code)

    assert state(settle(record, now=0.0)).word == "failed"
    assert state(revised(6, record)).word == "failed"
    assert state(revised(8, record)).word == "working"
    assert state(settle(revised(8, record), now=0.0)).word == "removed"


@pytest.mark.parametrize(("stage", "code"), [("embed", MALFORMED), ("enrich", "exhausted")])
def test_any_other_failure_ends_with_the_revision_that_is_settled(stage, code):
    record = failed(revised(5), 7, stage=stage, code=code)

    assert state(settle(record, now=0.0)).word == "removed"
