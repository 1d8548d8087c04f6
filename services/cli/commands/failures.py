"""`instep failures`, `failures dismiss` and `retry`."""

import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any, Final

from services.cli import exits
from services.cli.api.ask import ask, find
from services.cli.exits import Stop
from services.cli.terminal import (
    Terminal,
    ago,
    plural,
    print_json,
    shorten_path,
    table,
    visible,
)
from services.host.options import Options

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
    if any(len(row[4]) > room for row in rows):  # the reasons need lines of their own
        width, indent = max(20, terminal.width), " " * 6
        return [
            line
            for cell, row in zip(cells, rows, strict=True)
            for line in (
                f"  {cell}",
                *(
                    wrap(row[4], width, initial_indent=indent, subsequent_indent=indent)
                    if row != rows[0]
                    else ()
                ),
            )
        ]
    widest = max(map(len, cells))
    return [f"  {cell:<{widest}}  {row[4]}" for cell, row in zip(cells, rows, strict=True)]


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


AT_ONCE: Final = 200
"""Failures of one request: an answer to so many comes long before the request times out."""
PICKS: Final = ("code", "source", "stage", "path")


def run_list(args: Namespace, options: Options) -> int:
    """Print the failures by reason, with what to do about them."""
    asked = {name: getattr(args, name) for name in (*PICKS, "state")}
    answer = ask(options, "failures", asked)
    if options.json:
        print_json(answer)
    else:
        terminal = Terminal.of(sys.stdout, color=options.color)
        picked = any(asked.values())
        print("\n".join(lines(answer, terminal, now=time.time(), picked=picked)))
    return 0


def run_retry(args: Namespace, options: Options) -> int:
    """Publish the documents again."""
    return _act(args, options, "retry", "retried")


def run_dismiss(args: Namespace, options: Options) -> int:
    """Stop listing the failures, after asking."""
    if not args.dry_run and not args.yes and sys.stdin.isatty() and not options.json:
        found = ask(options, "dismiss", _fields(args, dry_run=True))
        print(f"{plural(found['done'], 'failure')} will be dismissed. Go on? [y/N] ", end="")
        if input().strip().lower() not in ("y", "yes"):
            raise Stop("nothing was dismissed")
    return _act(args, options, "dismiss", "dismissed")


def _act(args: Namespace, options: Options, operation: str, verb: str) -> int:
    in_one = args.dry_run or 0 < len(args.ids) <= AT_ONCE or find(options) is None
    answer = ask(options, operation, _fields(args, dry_run=args.dry_run or not in_one))
    if not in_one:
        names = [
            item["document"] if operation == "retry" else item["id"] for item in answer["items"]
        ]
        answer = _in_parts(options, operation, names, verb)
    if options.json:
        print_json(answer)
    else:
        print("\n".join(chosen(answer, verb)))
    return exits.NEEDS_YOU if answer["skipped"] else exits.DONE


def _in_parts(options: Options, operation: str, names: Sequence[str], verb: str) -> dict[str, Any]:
    """One answer of many requests; a long list shows its progress."""
    whole: dict[str, Any] = {"done": 0, "skipped": 0, "dry_run": False, "items": []}
    for start in range(0, len(names), AT_ONCE):
        part = ask(options, operation, {"ids": names[start : start + AT_ONCE], "lenient": True})
        for count in ("done", "skipped"):
            whole[count] += part[count]
        whole["items"] += part["items"]
        if len(names) > AT_ONCE:
            done = min(len(names), start + AT_ONCE)
            print(progress(done, len(names), verb), file=sys.stderr, flush=True)
    return whole


def _fields(args: Namespace, *, dry_run: bool) -> dict[str, object]:
    picks = {name: getattr(args, name) for name in PICKS}
    if not (args.ids or args.all or any(picks.values())):
        raise Stop(
            "nothing is chosen", fix="give an ID (instep failures), --code C, --path GLOB or --all"
        )
    return {"ids": args.ids, "all": args.all, "dry_run": dry_run, **picks}
