"""Batches of many kinds, as the tracker knows them when they end, and their reports."""

import hashlib
from base64 import b32encode
from datetime import UTC, datetime, timedelta

from services.validator.batches.outcomes import outcome_of
from services.validator.batches.report import Judged, build
from services.validator.checks import SampleResult, Verdict
from shared.batches.members import OpenBatch
from shared.batches.reports import line_of
from shared.domain.events import Batch
from shared.domain.ordering import Failed, Reason, Record, RowRef, Settled

START = datetime(2026, 11, 21, 12, 3, 5, 250000, tzinfo=UTC)
AT = START.timestamp()
ROWS = tuple(RowRef(letter * 26, 1) for letter in "abcdefgh")


def key(n):
    return b32encode(hashlib.sha256(str(n).encode()).digest()).decode().lower()[:26]


def record(path, seq=5, outcome="indexed", *, rows=2, took=0.5, code="", text="", **counts):
    reason = Reason(code, text) if code else None
    held = ROWS[:rows] if outcome == "indexed" else ()
    given = {"inserted": rows, "encoded": rows} | counts if outcome == "indexed" else counts
    settled = Settled(seq, outcome, held, AT + 0.1, AT + 0.1 + took, reason, **given)
    return Record("docs", path, settled)


def failed(path, seq=5, code="exhausted", text="the store is down"):
    return Record("docs", path, failed=Failed(seq, "index", Reason(code, text)))


def judged(records, *, count=None, unchanged=0, seq=5, declined=(), waiting=(), **more):
    """A batch of records, each at the revision `seq`."""
    members = {key(n): seq for n in range(len(records))}
    outcomes = {key(n): outcome_of(one, seq) for n, one in enumerate(records)}
    whole = more.pop("whole", True)
    samples = more.pop("samples", None)
    listed = members | dict.fromkeys(waiting, seq) | dict.fromkeys(declined, 0)
    batch = Batch(
        id=more.pop("id", "b_01hgs8k3m2"),
        count=len(listed) + unchanged if count is None else count,
        source="docs",
        format="md",
        started_at=more.pop("start", START),
    )
    verdicts = {
        k: Verdict(o.chunks.total, o.chunks.total, freshness_s=o.freshness_s)
        for k, o in outcomes.items()
        if o and o.outcome in ("indexed", "removed")
    }
    return Judged(
        OpenBatch(batch, listed, unchanged, whole, more.pop("moved", 0)),
        outcomes,
        dict.fromkeys(waiting, seq),
        verdicts | more.pop("verdicts", {}),
        samples,
    )


def report(records=(), *, generation="gabcdefgh", model="all-MiniLM-L6-v2", after_s=9.0, **more):
    batch = judged(records, **more)
    now = batch.open.batch.started_at + timedelta(seconds=after_s)
    return build(batch, generation=generation, model=model, warn_s=60.0, now=now)


def mixed(**more):
    """Something of everything."""
    some = [
        record("guide/new.md", took=0.4),
        record("guide/edited.md", rows=4, inserted=1, encoded=1, removed=1, took=0.62),
        record("guide/same.md", inserted=0, encoded=0, took=0.2),
        record("gone.md", outcome="removed", removed=3, took=0.3),
        record("overtaken.md", seq=9, took=2.0),
        record("slow.md", took=75.0, rows=3, encoded=1),
        record("scan.pdf", outcome="refused", code="encrypted", text="the PDF is encrypted"),
        failed("big.csv"),
    ]
    samples = [
        SampleResult("how do I start", "docs/start.md", 2),
        SampleResult("x", "docs/y", None),
    ]
    lost = {key(0): Verdict(2, 1, missing=1), key(1): Verdict(4, 4, self_query=True)}
    given = {
        "samples": samples,
        "verdicts": lost,
        "declined": ("!17 invalid_path",),
        "unchanged": 3,
    }
    return report(some, **(given | more))


def many(n, *, failures=0):
    """A large batch: documents that took different times."""
    records = [
        record(
            f"folder {i % 40}/document number {i}.md", took=0.05 * (1 + i % 97) + (i % 7 == 0) * 12
        )
        for i in range(n - failures)
    ]
    records += [failed(f"folder/broken document {i}.md") for i in range(failures)]
    return records


def lines(n):
    """Lines of the last batches, newest first."""
    return [
        line_of(
            report(
                [record(f"{i}.md", took=0.3 + (i * 7 % 11) / 4) for i in range(1 + k * 5 % 17)],
                id=f"b_{k:04}",
                start=START - timedelta(minutes=k),
            )
        )
        for k in range(n)
    ]
