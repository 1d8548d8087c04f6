"""The last batches and validations as a page. Pure."""

from collections.abc import Sequence
from urllib.parse import quote, urlencode

from services.gateway.pages import layout
from services.gateway.pages.markup import (
    Markup,
    join,
    moment,
    name,
    paragraph,
    seconds,
    section,
    table,
    text,
)
from services.gateway.pages.report import documents_changed, history_section, verdict
from shared.batches.reports import ReportLine, Validation

BASE = "/api/v1/batches"


def history_page(
    lines: Sequence[ReportLine], validations: Sequence[Validation], source: str = ""
) -> str:
    """
    Args:
        lines, validations: newest first.
        source: their source; empty: of all.
    """
    of = f" of {source}" if source else ""
    main = history_main(lines, validations, source)
    header = Markup(f"<h1>Batches and validations{text(of)}</h1>")
    footer = paragraph("instep keeps them for 30 days: instep report --list")
    return layout.page(f"Reports{of}", header, main, footer)


def history_main(
    lines: Sequence[ReportLine], validations: Sequence[Validation], source: str, *, at: str = BASE
) -> Markup:
    """The sections of the page.

    Args:
        at: the address below which batches have theirs: of the interface, or of the page.
    """
    return join([_batches(lines, at), _trends(lines, source), _validations(validations)])


def _batches(lines: Sequence[ReportLine], at: str) -> Markup:
    if not lines:
        return section("Batches", paragraph("No batch has ended yet."))
    head = ("batch", "source", "started", "result", "changed", "refused", "failed", "p95")
    rows = [
        (
            _link(line, at),
            line.batch.source,
            moment(line.batch.started_at),
            verdict(line),
            documents_changed(line),
            line.documents.refused,
            line.documents.failed,
            seconds(line.freshness.p95_s),
        )
        for line in lines
    ]
    return section("Batches", table("Batches, newest first", head, rows, right=(4, 5, 6, 7)))


def _link(line: ReportLine, at: str) -> Markup:
    place = f"{at}/{quote(line.batch.id, safe='')}"
    address = f"{place}?{urlencode({'source': line.batch.source})}"
    if at == BASE:
        address = f"{place}/report?{urlencode({'source': line.batch.source, 'format': 'html'})}"
    return Markup(f'<a href="{text(address)}">{name(line.batch.id)}</a>')


def _trends(lines: Sequence[ReportLine], source: str) -> Markup:
    return Markup(history_section(lines, source).replace("Before this", "Trends", 1))


def _validations(validations: Sequence[Validation]) -> Markup:
    if not validations:
        return Markup()
    words = {None: ("soft", "○ nothing to check"), True: ("good", "✓ passed")}
    rows = []
    for point in validations:
        kind, word = words.get(point.passed, ("bad", "✗ failed"))
        checked = point.checked
        rows.append(
            (
                moment(point.at),
                point.source or "all",
                name(point.batch) if point.batch else "instep validate",
                Markup(f'<span class="{kind}">{word}</span>'),
                checked.documents,
                checked.failed + point.orphans,
                f"{checked.samples_passed:,} of {checked.samples:,}" if checked.samples else "-",
                seconds(point.freshness.p95_s),
            )
        )
    head = ("at", "source", "what", "result", "documents", "differ", "questions", "p95")
    return section(
        "Validations", table("Validations, newest first", head, rows, right=(4, 5, 6, 7))
    )
