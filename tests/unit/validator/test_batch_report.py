"""The report of a batch: what it holds, and that its numbers are right."""

import json
import random
from base64 import b32encode
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from report_world import failed, judged, key, lines, many, mixed, record, report

from services.validator.batches.report import event_of
from services.validator.checks import SampleResult, Verdict
from shared.batches.reports import (
    MEMBERS_KEPT,
    MOST_BYTES,
    SLOWEST,
    TROUBLES_KEPT,
    BatchReport,
    ReportLine,
    Validation,
    line_of,
    pack,
    unpack,
    validation_of,
)

GOLDEN = Path(__file__).parents[2] / "golden/v1/reports"


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


# -- what it holds ---------------------------------------------------------------------------------


def test_documents_are_counted_by_what_the_batch_meant_for_them():
    found = mixed()

    assert found.documents.model_dump() == {
        "inserted": 3, "updated": 1, "unchanged": 4, "moved": 0, "removed": 1, "refused": 2,
        "failed": 1, "waiting": 0, "missing": 0, "superseded": 1,
    }  # fmt: skip
    assert found.refused_by_code == {"encrypted": 1, "invalid_path": 1}
    assert found.failed_by_code == {"exhausted": 1}


def test_chunks_texts_and_rates_are_those_of_the_batch_alone():
    found = report([record("a.md", rows=4, inserted=3, encoded=1, removed=2, took=1.9)], after_s=9)

    assert (found.chunks.inserted, found.chunks.kept, found.chunks.removed) == (3, 1, 2)
    assert (found.texts.encoded, found.texts.cached) == (1, 2)
    assert found.elapsed_s == 2.0  # until its last document had ended, not until it was checked
    assert found.per_second.model_dump() == {"documents": 0.5, "chunks": 1.5, "texts": 0.5}


def test_a_move_is_one_document():
    found = report([record("new.md"), record("old.md", outcome="removed")], moved=1)

    assert (found.documents.moved, found.documents.inserted, found.documents.removed) == (1, 0, 0)


def test_freshness_is_over_the_revisions_of_the_batch_that_search_shows():
    found = mixed().freshness

    assert found.documents == 5  # neither the overtaken one, nor the refused and the failed
    assert (found.p50_s, found.max_s, found.over) == (0.4, 75.0, 1)
    assert sum(b.documents for b in found.histogram) == 5
    assert {b.up_to_s: b.documents for b in found.histogram if b.documents} == {
        0.25: 1, 0.5: 2, 1: 1, 120: 1,
    }  # fmt: skip


def test_the_slowest_documents_are_named_slowest_first():
    found = report([record(f"{n}.md", took=n) for n in range(25)])

    assert [slow.freshness_s for slow in found.slowest] == list(range(24, 24 - SLOWEST, -1))
    assert found.slowest[0].document == "docs/24.md"
    assert found.slowest[0].doc_key == key(24)


def test_each_check_says_how_it_ended_with_numbers_and_a_remedy():
    checks = {check.name: check for check in mixed().checks}

    assert {name: check.level for name, check in checks.items()} == {
        "count": "FAIL", "self-query": "ok", "samples": "FAIL", "freshness": "WARN",
    }  # fmt: skip
    assert checks["count"].numbers["expected_rows"] - checks["count"].numbers["found_rows"] == 1
    assert checks["samples"].numbers == {"asked": 2, "passed": 1}
    assert all(bool(check.fix) == (check.level != "ok") for check in checks.values())


def test_the_verdict_is_that_of_the_checks_and_being_slow_or_short_is_no_failure():
    slow = report([record("a.md", took=99)], count=3, whole=False)
    lost = report([record("a.md")], verdicts={key(0): Verdict(2, 2, self_query=False)})
    wrong = report([record("a.md")], samples=[SampleResult("q", "docs/x", None)])

    assert (slow.complete, slow.validation_passed) == (False, True)
    assert lost.validation_passed is False
    assert wrong.validation_passed is False
    assert report([], unchanged=3).validation_passed is None


def test_an_incomplete_batch_says_what_is_missing_and_so_does_its_event():
    found = report([record("a.md")], count=10, whole=False, waiting=(key(7), key(8)))
    event = event_of(found)

    assert (found.complete, found.documents.missing, found.documents.waiting) == (False, 7, 2)
    assert (event.complete, event.missing) == (False, 9)
    assert found.checks[0].name == "complete"
    assert [t.doc_key for t in found.troubles if t.state == "waiting"] == [key(7), key(8)]
    assert event.message_id != event_of(report([record("a.md")])).message_id


def test_failures_come_first_and_refusals_at_the_door_are_among_the_troubles():
    troubles = mixed().troubles

    assert [t.state for t in troubles] == ["failed", "differs", "refused", "refused"]
    assert (troubles[0].document, troubles[0].code, troubles[0].stage) == (
        "docs/big.csv", "exhausted", "index",
    )  # fmt: skip
    assert (troubles[-1].document, troubles[-1].code) == ("submission 17", "invalid_path")


@given(
    st.lists(st.sampled_from(["indexed", "removed", "refused", "failed"]), max_size=12),
    st.integers(0, 5),
)
def test_the_event_counts_the_same_documents_as_the_report(words, unchanged):
    records = [
        failed(f"{n}") if word == "failed" else record(f"{n}", outcome=word)
        for n, word in enumerate(words)
    ]
    found = report(records, unchanged=unchanged)
    told, counted, kinds = event_of(found).summary, found.documents, Counter(words)

    assert told.failed == counted.failed == kinds["failed"]
    assert told.refused == counted.refused == kinds["refused"]
    assert told.removed == counted.removed == kinds["removed"]
    assert told.indexed == counted.inserted + counted.updated == kinds["indexed"]
    assert told.unchanged == counted.unchanged == unchanged


# -- bounds ----------------------------------------------------------------------------------------


def test_lists_are_bounded_and_the_rest_is_counted():
    found = report(many(1200, failures=TROUBLES_KEPT + 77))

    assert len(found.troubles) == TROUBLES_KEPT
    assert found.troubles_more == 77
    assert found.documents.failed == TROUBLES_KEPT + 77


def test_long_reasons_and_questions_are_cut():
    found = report(
        [failed("a.md", text="x" * 9000)], samples=[SampleResult("q" * 5000, "docs/a", 1)]
    )

    assert len(found.troubles[0].reason) == 300
    assert len(found.samples[0].q) == 300


def test_a_report_fits_its_place_whatever_is_in_it():
    noise = random.Random(7)
    wild = [failed(b32encode(noise.randbytes(600)).decode(), text="x" * 300) for _ in range(600)]
    batch, found = judged(many(MEMBERS_KEPT)), report(wild)
    value = pack(found, batch.members)
    back, members = unpack(value)

    assert len(value) <= MOST_BYTES
    assert back.documents == found.documents
    assert len(back.troubles) + back.troubles_more == 600
    assert set(members) < set(batch.members)


def test_a_usual_report_is_kept_whole():
    found, members = report(many(3000, failures=20)), tuple(key(n) for n in range(3000))

    assert unpack(pack(found, members)) == (found, members)


# -- compatibility ---------------------------------------------------------------------------------


def test_a_report_that_was_kept_before_is_read_and_nothing_of_it_is_lost():
    raw = golden("batch")

    assert BatchReport.model_validate(raw).model_dump(mode="json") == raw
    assert raw["schema"] == 1


def test_the_golden_report_is_what_is_made_today():
    """A new field goes into the golden copy; none may leave it."""
    assert mixed().model_dump(mode="json").keys() == golden("batch").keys()


def test_a_line_is_the_report_without_its_lists():
    found = mixed()
    line = line_of(found)

    assert line.model_dump(mode="json") == golden("line")
    assert ReportLine.model_validate(golden("line")) == line
    assert len(line.model_dump_json()) < 2000


def test_a_validation_that_was_kept_before_is_read():
    raw = golden("validation")

    assert Validation.model_validate(raw).model_dump(mode="json") == raw
    assert validation_of(lines(1)[0]).kind == "batch"


def test_fields_of_a_newer_writer_are_ignored():
    raw = golden("batch") | {"novelty": 1}
    raw["documents"] = raw["documents"] | {"novelty": 1}

    assert BatchReport.model_validate(raw) == BatchReport.model_validate(golden("batch"))
