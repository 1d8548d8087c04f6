"""Failures, and the outcome of actions on them, as lines. Pure."""

from collections.abc import Mapping
from textwrap import wrap
from typing import Any, Final

from services.cli.terminal import Terminal, ago, plural, shorten, shorten_path, table, visible

SHOWN: Final = 20
"""Most outcomes that are listed one by one; of more, only those that were skipped."""


def lines(
    answer: Mapping[str, Any], terminal: Terminal, *, now: float, picked: bool = False
) -> list[str]:
    """For each reason its meaning and its fix, then the failures with it.

    Args:
        picked: the request had a filter, so an empty list says nothing of other failures.
    """
    if not answer["failures"]:
        all_of_them = "no document is refused or failed"
        return ["no failure matches; instep failures shows all" if picked else all_of_them]
    found: list[str] = []
    for group in answer["groups"]:
        members = [
            f
            for f in answer["failures"]
            if (f["state"], f["code"]) == (group["state"], group["code"])
        ]
        head = f"{group['count']:,} {group['state']}: {group['code']}"
        style = "red" if group["state"] == "failed" else "yellow"
        found += ["", terminal.paint(head, style)]
        for text in (group["meaning"], f"what to do: {group['fix']}"):
            found += wrap(text, terminal.width, initial_indent="  ", subsequent_indent="    ")
        found += _table(members, terminal, now)
        more = group["count"] - len(members)
        if more > 0:
            found.append(f"  and {more:,} more")
    return found[1:]


def _table(failures: list[Mapping[str, Any]], terminal: Terminal, now: float) -> list[str]:
    if not failures:
        return []
    rows = [("ID", "DOCUMENT", "SINCE", "TRIES", "REASON")]
    name_room = max(20, min(48, terminal.width // 3))
    for f in failures:
        name = shorten_path(f["document"], name_room)
        rows.append(
            (f["id"], name, ago(f["since"], now), str(f["tries"] or "-"), visible(f["reason"]))
        )
    cells = table([row[:4] for row in rows], right=(3,))
    room = terminal.width - max(map(len, cells)) - 4
    if room < 30:  # the reason needs a line of its own
        width = max(20, terminal.width - 6)
        return [
            line
            for cell, row in zip(cells, rows, strict=True)
            for line in (
                f"  {cell}",
                *([f"      {shorten(row[4], width)}"] if row != rows[0] else []),
            )
        ]
    widest = max(map(len, cells))
    return [
        f"  {cell:<{widest}}  {shorten(row[4], room)}"
        for cell, row in zip(cells, rows, strict=True)
    ]


def progress(done: int, total: int, verb: str) -> str:
    """The progress of a long list."""
    return f"{verb} {done:,} of {total:,}"


def chosen(answer: Mapping[str, Any], verb: str) -> list[str]:
    """The outcome of each failure; `verb` in the past tense."""
    found = []
    for item in answer["items"]:
        if item["done"] and len(answer["items"]) > SHOWN:
            continue
        word = verb if item["done"] else "skipped"
        if answer["dry_run"]:
            word = f"would be {verb}"
        detail = f"   {item['detail']}" if item["detail"] else ""
        found.append(visible(f"{word}  {item['id']}  {item['document']}{detail}"))
    total = f"{plural(answer['done'], 'failure')} {verb}"
    if answer["dry_run"]:
        total = f"nothing was done: {plural(answer['done'], 'failure')} would be {verb}"
    if answer["skipped"]:
        total += f", {answer['skipped']:,} skipped"
    return [*found, total]
