"""Failures, and what was done about them, as lines. Pure."""

from collections.abc import Mapping
from typing import Any

from services.cli.terminal import Terminal, ago, plural, shorten_path, table


def lines(answer: Mapping[str, Any], terminal: Terminal, *, now: float) -> list[str]:
    """A row for each failure; the remedy on a line of its own where the width does not hold it."""
    if not answer["failures"]:
        return ["nothing is refused, nothing has failed"]
    rows = [("ID", "DOCUMENT", "STATE", "REASON", "SINCE", "TRIES")]
    for f in answer["failures"]:
        name = shorten_path(f["document"], max(20, terminal.width - 50))
        tries = str(f["tries"] or "-")
        rows.append((f["id"], name, f["state"], f["code"], ago(f["since"], now), tries))
    cells = table(rows, right=(5,))
    fixes = ["WHAT TO DO", *(f"{f['reason']}: {f['fix']}" for f in answer["failures"])]
    widest = max(map(len, cells))
    found: list[str] = []
    for cell, fix in zip(cells, fixes, strict=True):
        if widest + 2 + max(map(len, fixes)) <= terminal.width:
            found.append(f"{cell:<{widest}}  {fix}")
        elif fix == fixes[0]:
            found.append(cell)
        else:
            found += [cell, f"    {fix}"]
    more = answer["total"] - len(answer["failures"])
    return [*found, f"and {more:,} more"] if more > 0 else found


def chosen(answer: Mapping[str, Any], verb: str) -> list[str]:
    """What was done to which failure; `verb` in the past tense."""
    found = []
    for item in answer["items"]:
        word = verb if item["done"] else "skipped"
        if answer["dry_run"]:
            word = f"would be {verb}"
        detail = f"   {item['detail']}" if item["detail"] else ""
        found.append(f"{word}  {item['id']}  {item['document']}{detail}")
    total = f"{plural(answer['done'], 'failure')} {verb}"
    if answer["dry_run"]:
        total = f"nothing was done: {plural(answer['done'], 'failure')} would be {verb}"
    if answer["skipped"]:
        total += f", {answer['skipped']} skipped"
    return [*found, total]
