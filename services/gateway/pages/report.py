"""The report of a batch as a page: one self-contained file (F4). Pure."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from services.gateway.pages import layout
from services.gateway.pages.drawing import (
    OUTCOMES,
    About,
    histogram,
    labels,
    outcome_bar,
    trend,
)
from services.gateway.pages.markup import (
    Cell,
    Markup,
    details,
    facts,
    join,
    moment,
    name,
    paragraph,
    seconds,
    section,
    table,
    text,
)
from shared.batches.reports import BatchReport, ReportLine

MEANS: Final[Mapping[str, str]] = {
    "inserted": "new in the index",
    "updated": "changed in the index",
    "moved": "the same content under another path",
    "removed": "gone from the index",
    "refused": "not indexed: see the reasons",
    "failed": "no retry helped: see the reasons",
    "waiting": "no outcome when the batch was closed",
    "missing": "announced by the publisher, and never sent",
    "unchanged": "nothing had to be done",
}


def report_page(report: BatchReport, before: Sequence[ReportLine] = ()) -> str:
    """
    Args:
        before: the last batches of the source, newest first, this one included.
    """
    batch = report.batch
    header, main = report_header(report), report_main(report, before)
    command = f"instep report {shlex.quote(batch.id)} --source {batch.source}"
    footer = join(
        [
            paragraph(
                f"instep, generation {report.generation}, model {report.model or '-'}, "
                f"report schema {report.schema_}"
            ),
            paragraph(f"The same as JSON: {command} --json"),
        ]
    )
    return layout.page(f"Batch {batch.id} of {batch.source}", header, main, footer)


def report_header(report: BatchReport) -> Markup:
    """The verdict, the name of the batch, and its times."""
    batch = report.batch
    return Markup(
        f"<p>{verdict(report)}</p>\n<h1>Batch {name(batch.id)} of {name(batch.source)}</h1>\n"
        f"<p>{moment(batch.started_at)} to {moment(report.finished_at)}, "
        f"{text(seconds(report.elapsed_s))}</p>"
    )


def report_main(report: BatchReport, before: Sequence[ReportLine] = ()) -> Markup:
    """The sections of the page. `before`: as of `report_page`."""
    return join(
        [
            _overview(report),
            _freshness(report),
            _checks(report),
            _troubles(report),
            _slowest(report),
            history_section(before, report.batch.source),
        ]
    )


def verdict(line: ReportLine) -> Markup:
    """The outcome of the checks in one word, with a sign and a colour."""
    if not line.complete:
        return Markup('<span class="warn">! incomplete</span>')
    if line.validation_passed is None:
        return Markup('<span class="soft">○ nothing to check</span>')
    if line.validation_passed:
        return Markup('<span class="good">✓ passed</span>')
    return Markup('<span class="bad">✗ failed</span>')


def _overview(report: BatchReport) -> Markup:
    documents, chunks, rate = report.documents, report.chunks, report.per_second
    rows = [
        (Markup(f'<svg class="key" viewBox="0 0 8 8" aria-hidden="true">'
                f'<rect class="{kind}" width="8" height="8"/></svg>{word}'),
         getattr(documents, word), MEANS[word])
        for word, kind in OUTCOMES
        if getattr(documents, word)
    ]  # fmt: skip
    pairs: list[tuple[str, Cell]] = [
        ("documents announced", report.batch.count),
        ("format", report.batch.format),
        ("chunks inserted", chunks.inserted),
        ("chunks kept", chunks.kept),
        ("chunks removed", chunks.removed),
        ("texts encoded", report.texts.encoded),
        ("texts from the cache", report.texts.cached),
        ("documents per second", rate.documents),
        ("chunks per second", rate.chunks),
    ]
    parts = [outcome_bar(documents)]
    if rows:
        parts.append(
            table("Documents by outcome", ("outcome", "documents", "meaning"), rows, right=(1,))
        )
    else:
        parts.append(paragraph("No document has changed."))
    if documents.superseded:
        parts.append(
            paragraph(f"In the place of {documents.superseded:,} of them came a newer change.")
        )
    return section("Documents", *parts, facts(pairs))


def _freshness(report: BatchReport) -> Markup:
    fresh = report.freshness
    if not fresh.documents:
        return Markup()
    pairs: list[tuple[str, Cell]] = [
        ("half within", seconds(fresh.p50_s)),
        ("95 % within", seconds(fresh.p95_s)),
        ("longest", seconds(fresh.max_s)),
        (f"longer than {fresh.warn_s:g} s", fresh.over),
    ]
    rows = [
        (words, bin_.documents)
        for words, bin_ in zip(labels(fresh.histogram), fresh.histogram, strict=True)
        if bin_.documents
    ]
    return section(
        "From change to searchable",
        histogram(fresh.histogram, fresh.warn_s),
        facts(pairs),
        details("As a table", table("Documents by time", ("time", "documents"), rows, right=(1,))),
    )


def _checks(report: BatchReport) -> Markup:
    words = {"ok": ("good", "✓ ok"), "WARN": ("warn", "! warning"), "FAIL": ("bad", "✗ failed")}
    rows = []
    for check in report.checks:
        kind, word = words[check.level]
        sign = Markup(f'<span class="{kind}">{word}</span>')
        rows.append((check.name, sign, check.text, check.fix or Markup()))
    parts = [paragraph("Nothing was checked.")]
    if rows:
        parts = [table("What was checked", ("check", "result", "found", "what to do"), rows)]
    if report.samples:
        asked = [
            (sample.q, name(sample.expect), _rank(sample.rank), sample.rank)
            for sample in report.samples
        ]
        head = ("question", "expected document", "result", "place")
        parts.append(table("Sample queries", head, asked, right=(3,)))
    return section("Checks", *parts)


def _rank(rank: int | None) -> Markup:
    if rank is None:
        return Markup('<span class="bad">✗ not in the top 5</span>')
    return Markup('<span class="good">✓ found</span>')


def _troubles(report: BatchReport) -> Markup:
    if not report.troubles:
        return Markup()
    rows = [
        (
            name(trouble.document),
            trouble.state,
            trouble.code,
            trouble.reason + (f" (stage {trouble.stage})" if trouble.stage else ""),
        )
        for trouble in report.troubles
    ]
    codes = [
        (code, word, count)
        for word, of in (("failed", report.failed_by_code), ("refused", report.refused_by_code))
        for code, count in of.items()
    ]
    parts = [
        table("Documents that need a look", ("document", "state", "code", "reason"), rows),
    ]
    if codes:
        parts.insert(0, table("By reason", ("code", "state", "documents"), codes, right=(2,)))
    if report.troubles_more:
        parts.append(paragraph(f"and {report.troubles_more:,} more: instep failures"))
    return Markup(
        section("Not as it should be", *parts).replace("<section>", '<section class="long">', 1)
    )


def _slowest(report: BatchReport) -> Markup:
    if not report.slowest:
        return Markup()
    rows = [(name(slow.document), seconds(slow.freshness_s)) for slow in report.slowest]
    return section(
        "Slowest documents",
        table("From change to searchable", ("document", "time"), rows, right=(1,)),
    )


def history_section(lines: Sequence[ReportLine], source: str) -> Markup:
    """Two trends over the last batches, and all of them as a table.

    Args:
        lines: newest first.
        source: their source; empty: of all.
    """
    if not lines:
        return Markup()
    oldest_first = list(reversed(lines))
    changed: list[float | None] = [float(documents_changed(line)) for line in oldest_first]
    p95 = [line.freshness.p95_s for line in oldest_first]
    of = f"the last {len(lines):,} batches" + (f" of {source}" if source else "")
    charts = [
        _trend("p95", "95 % searchable within, seconds", p95, " s", of),
        _trend("changed", "Documents changed", changed, "", of),
    ]
    head = ("batch", "source", "started", "result", "changed", "failed", "p95")
    rows = [
        (
            name(line.batch.id),
            line.batch.source,
            moment(line.batch.started_at),
            verdict(line),
            documents_changed(line),
            line.documents.failed,
            seconds(line.freshness.p95_s),
        )
        for line in lines
    ]
    listed = table(f"{of[0].upper()}{of[1:]}, newest first", head, rows, right=(4, 5, 6))
    pair = Markup(f'<div class="pair">{join(charts)}</div>')
    return section("Before this", pair, details("All of them", listed))


def documents_changed(line: ReportLine) -> int:
    """Documents of a batch that took work."""
    d = line.documents
    return d.inserted + d.updated + d.moved + d.removed


def _trend(key: str, title: str, values: Sequence[float | None], unit: str, of: str) -> Markup:
    known = [value for value in values if value is not None]
    if not known:
        return Markup()
    said = f"Over {of}: last {known[-1]:g}{unit}, least {min(known):g}, most {max(known):g}."
    drawn = trend(About(f"trend-{key}", title, said), values, unit)
    return Markup(f"<div><h3>{text(title)}</h3>{drawn}</div>")
