"""The outcome of a sweep as lines. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from services.cli.terminal import Terminal, plural, seconds, shorten_path, visible

SHOWN: Final = 3
"""Paths of each kind."""
KINDS: Final = (
    ("missing", "row", "in the ledger, and missing in the store"),
    ("extra", "row", "in the store, and unknown to the ledger"),
    ("damaged", "row", "changed in the store, or there twice"),
    ("lost", "document", "whose newest change got lost on its way"),
    ("stuck", "document", "pending for too long"),
    ("unknown", "document", "with rows, and unknown to the bus and the ledger"),
    ("beyond_repair", "document", "with damaged rows, and without content to write them again"),
    ("held", "document", "unknown, with rows that wait for you: instep sweep --force"),
)


def lines(answer: Mapping[str, Any], terminal: Terminal) -> list[str]:
    """The comparison, the differences, and the repairs."""
    found = [_compared(answer)]
    for kind, of, what in KINDS:
        if answer[kind]:
            line = f"  {plural(answer[kind], of)} {what}"
            style = "red" if kind in ("beyond_repair", "held") else "yellow"
            found.append(terminal.paint(line, style))
            found += [f"    {name}" for name in _some(answer["samples"].get(kind, ()), terminal)]
    found += [line for audit in answer["audits"] for line in _audit(audit, answer, terminal)]
    return [*found, _end(answer, terminal)]


def line(last: Mapping[str, Any], ago: str) -> str:
    """`last sweep 4 min ago, repaired 2 documents`, for `status`."""
    count, left = last["repaired"], last["needs_you"]
    nothing = "repaired nothing" if left else "nothing to repair"
    done = f"repaired {plural(count, 'document')}" if count else nothing
    if left:
        done = f"{done}; it left differences that need you: instep sweep --dry-run shows them"
    return f"last sweep {ago} ago, {done}"


def _compared(answer: Mapping[str, Any]) -> str:
    documents, rows = plural(answer["documents"], "document"), plural(answer["rows"], "row")
    return f"compared {documents} and {rows} in {seconds(answer['took_s'])}"


def _some(paths: tuple[str, ...], terminal: Terminal) -> list[str]:
    names = [shorten_path(path, terminal.width - 4) for path in paths[:SHOWN]]
    more = len(paths) - len(names)
    return [*names, f"and {more:,} more"] if more > 0 else names


def _audit(audit: Mapping[str, Any], answer: Mapping[str, Any], terminal: Terminal) -> list[str]:
    """The line of a source; none where its files agree."""
    source = audit["source"]
    if audit["error"]:
        return [terminal.paint(visible(f"  {source}: {audit['error']}"), "red")]
    would = "would be " if answer["dry_run"] else ""
    parts = [
        f"{plural(audit['submitted'], 'file')} {would}read again" if audit["submitted"] else "",
        f"{plural(audit['removed'], 'document')} {would}removed" if audit["removed"] else "",
        f"{plural(audit['held'], 'removal')} held: instep removals" if audit["held"] else "",
    ]
    said = ", ".join(filter(None, parts))
    return [f"  {source}: {said}"] if said else []


def _end(answer: Mapping[str, Any], terminal: Terminal) -> str:
    if answer["clean"]:
        return terminal.paint("everything agrees", "green")
    if answer["dry_run"]:
        return "nothing was changed (--dry-run)"
    sent, done, failed = answer["resubmitted"], answer["processed"], answer["failed"]
    rest = sent - done - failed
    rows = [
        (f"{plural(done, 'document')} put right", done),
        (f"{plural(failed, 'document')} failed: instep failures", failed),
        (f"{plural(rest, 'document')} sent again, not done yet: instep status", rest),
    ]
    said = "; ".join(text for text, count in rows if count)
    return said or "nothing was sent again"
