"""`instep removals`: removals that wait for a person."""

import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.cli import exits
from services.cli.api.ask import ask
from services.cli.terminal import (
    Terminal,
    ago,
    number,
    plural,
    print_json,
    shorten,
    shorten_path,
    table,
)
from services.host.options import Options

SHOWN: Final = 3
"""Paths of each source."""
WAITS: Final = "waits for you"


def lines(answer: Mapping[str, Any], terminal: Terminal, *, now: float) -> list[str]:
    """A row for each source with some of its paths, then the commands that decide."""
    if not answer["holds"]:
        return ["no removal is held"]
    rows = [("SOURCE", "SINCE", "VANISHED", "OF", "")]
    rows += [
        (
            hold["source"],
            ago(hold["since"], now),
            number(hold["vanished"]),
            number(hold["of"]),
            _word(hold),
        )
        for hold in answer["holds"]
    ]
    head, *cells = table(rows, right=(2, 3))
    found = [head]
    for hold, cell in zip(answer["holds"], cells, strict=True):
        found += [
            cell if _word(hold) != WAITS else terminal.paint(cell, "red"),
            f"    {_sample(hold, terminal.width - 4)}",
        ]
    return [
        *found,
        "",
        "The files are gone; search still finds their documents.",
        *table(_commands(answer["holds"])),
    ]


def _commands(holds: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The decisions that are left, each with a source that may be decided so."""
    ways = (
        ("approve", "released", "take the documents out of the index"),
        ("reject", "kept", "leave them in the index, and ask no more"),
    )
    found: list[tuple[str, ...]] = []
    for verb, done, effect in ways:
        undecided = [hold for hold in holds if not hold.get(done)]
        first = min(undecided, key=lambda hold: _word(hold) != WAITS, default=None)
        if first is not None:
            found.append((f"  instep removals {verb} {first['source']}", effect))
    return found


def decided(answer: Mapping[str, Any], action: str) -> str:
    """The outcome of a decision about a source."""
    source, count = answer["source"], answer["documents"]
    if not answer["done"]:
        return f"{source}: nothing was done; {answer['detail']}"
    if action == "approve":
        if answer["detail"]:
            return f"{source}: {plural(count, 'document')} approved; {answer['detail']}"
        return f"{source}: {plural(count, 'document')} removed"
    return f"{source}: {plural(count, 'document')} kept; {answer['detail']}"


def _word(hold: Mapping[str, Any]) -> str:
    """The decision. An older gateway does not report a release that is still to be made."""
    if hold["kept"]:
        return "rejected"
    return "approved: instep up" if hold.get("released") else WAITS


def _sample(hold: Mapping[str, Any], width: int) -> str:
    names = [shorten_path(name, 40) for name in hold["sample"][:SHOWN]]
    more = hold["vanished"] - len(names)
    if more > 0:
        names.append(f"and {more:,} more")
    return shorten(", ".join(names), width)


TIMEOUT_S: Final = 600.0
"""An approval lists the whole folder first."""


def run_list(_: Namespace, options: Options) -> int:
    """Print the removals that wait, and how to decide about them."""
    answer = ask(options, "removals", {})
    if options.json:
        print_json(answer)
    else:
        terminal = Terminal.of(sys.stdout, color=options.color)
        print("\n".join(lines(answer, terminal, now=time.time())))
    return exits.DONE


def run_approve(args: Namespace, options: Options) -> int:
    """Take the documents of a source out of the index; status 1 when nothing was done."""
    return _decide(args.source, options, "approve")


def run_reject(args: Namespace, options: Options) -> int:
    """Leave the documents of a source in the index; status 1 when nothing was done."""
    return _decide(args.source, options, "reject")


def _decide(source: str, options: Options, operation: str) -> int:
    answer = ask(options, operation, {"source": source}, timeout_s=TIMEOUT_S)
    if options.json:
        print_json(answer)
    else:
        print(decided(answer, operation))
    return exits.DONE if answer["done"] else exits.NEEDS_YOU
