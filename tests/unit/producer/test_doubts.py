"""Which documents are worth a question, and what their entry in the listing becomes."""

from datetime import UTC, datetime

import pytest

from services.producer.reconcile import Gathering, corrected, entered
from services.producer.sources.listing import NEVER_READ, Seen
from services.producer.sources.port import Version
from shared.domain.events import Batch, Document, DocumentChanged, Inline
from shared.domain.ids import doc_key
from shared.domain.ordering import Failed, Pending, Reason, Record, RowRef, Settled
from shared.ports import Newest

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ROW = RowRef("c", 1)
REASON = Reason("empty", "nothing in it")


def key(path, source="docs"):
    return doc_key(source, path)


def seen(revision=7, content_hash="h"):
    return Seen(Version(3, 1, 1, 1), 9, content_hash, revision)


def newest(path="a.md", *, sequence=8, op="upserted", content_hash="h", intake=0, own=False):
    document = Document(source="docs", path=path, doc_key=key(path), changed_at=NOW)
    return Newest(
        sequence,
        DocumentChanged(
            document=document,
            batch=Batch(id="b_1", count=1, source="docs", started_at=NOW),
            op=op,
            content=Inline.of(b"x") if op == "upserted" else None,
            content_hash=content_hash,
            intake=intake,
            origin="watch" if own else "submission",
        ),
    )


def settled(seq, outcome="indexed"):
    return Settled(seq, outcome, (ROW,) if outcome == "indexed" else (), 0.0, 0.0)


def pending(seq, outcome="indexed"):
    return Pending(seq, outcome, (), frozenset(), 0.0, 0.0)


def gathered(entries=(), changes=(), records=()):
    found = Gathering("docs", [(path, seen(revision)) for path, revision in entries])
    for path, sequence in changes:
        found.change(key(path), sequence)
    for path, record in records:
        found.record(key(path, record.source), record)
    return found.doubts()


def test_what_agrees_raises_no_doubt():
    doubts = gathered(
        entries=[("a.md", 7)],
        changes=[("a.md", 7), ("gone.md", 8)],
        records=[
            ("a.md", Record("docs", "a.md", settled(7))),
            ("gone.md", Record("docs", "gone.md", settled(8, "removed"))),
            ("x.md", Record("other", "x.md", settled(9))),
        ],
    )

    assert (doubts.listed, doubts.unlisted) == ((), {})


def test_a_file_without_its_change_in_docs_is_doubtful():
    doubts = gathered(entries=[("a.md", 7), ("b.md", 8)], changes=[("b.md", 9)])

    assert doubts.listed == ("a.md", "b.md")


@pytest.mark.parametrize(
    "record",
    [
        Record("docs", "a.md", settled(8)),
        Record("docs", "a.md", settled(8, "refused")),
        Record("docs", "a.md", settled(7, "removed"), pending(8)),
        Record("docs", "a.md", failed=Failed(8, "enrich", REASON)),
    ],
)
@pytest.mark.parametrize("in_docs", [True, False])
def test_a_living_document_without_an_entry_is_doubtful(record, in_docs):
    doubts = gathered(changes=[("a.md", 8)] if in_docs else [], records=[("a.md", record)])

    assert doubts.unlisted == {key("a.md"): "a.md"}


def test_a_change_that_the_ledger_does_not_know_yet_is_doubtful():
    removed = Record("docs", "b.md", settled(7, "removed"))
    doubts = gathered(changes=[("a.md", 8), ("b.md", 9)], records=[("b.md", removed)])

    assert doubts.unlisted == {key("a.md"): "", key("b.md"): ""}


def test_a_document_that_is_being_removed_raises_no_doubt():
    record = Record("docs", "a.md", settled(7), pending(8, "removed"))
    doubts = gathered(changes=[("a.md", 8)], records=[("a.md", record)])

    assert doubts.unlisted == {}


def test_a_change_that_is_told_twice_counts_once():
    doubts = gathered(entries=[("a.md", 7)], changes=[("a.md", 7), ("a.md", 8)])

    assert (doubts.listed, doubts.unlisted) == ((), {})


@pytest.mark.parametrize(
    ("found", "becomes"),
    [
        (None, "read"),
        (newest(), "revision 8"),
        (newest(intake=4), "revision 8"),
        (newest(content_hash="other"), "read"),
        (newest(op="deleted", content_hash=None), "read"),
        (newest(content_hash="other", intake=4), "as it is"),
        (newest(op="deleted", content_hash=None, intake=4), "as it is"),
        (newest(content_hash="other", intake=4, own=True), "read"),
    ],
)
def test_a_listed_file_is_read_again_unless_somebody_submitted_otherwise(found, becomes):
    entry = corrected(seen(), found)

    if becomes == "as it is":
        assert entry is None
    elif becomes == "read":
        assert (entry.version, entry.content_hash, entry.revision) == (NEVER_READ.version, "", 7)
    else:
        assert entry == seen(8)


def test_a_document_of_a_file_gets_an_entry():
    entry = "b.md", NEVER_READ._replace(revision=8)

    assert entered(newest("b.md"), "") == entry
    assert entered(newest("b.md", intake=4, own=True), "") == entry


@pytest.mark.parametrize("found", [newest(op="deleted"), newest(intake=4)])
def test_what_was_deleted_or_submitted_gets_none(found):
    assert entered(found, "a.md") is None


def test_what_only_the_ledger_knows_gets_an_entry_that_was_accepted_once():
    path, entry = entered(None, "a.md")

    assert (path, entry.revision > 0) == ("a.md", True)
    assert entered(None, "") is None
