"""`instep failures`, `failures dismiss` and `retry`."""

import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from typing import Any, Final

from services.cli import exits
from services.cli.api.ask import ask, find
from services.cli.exits import Stop
from services.cli.terminal import Terminal, plural, print_json
from services.cli.text import failures as text
from services.host.options import Options

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
        print("\n".join(text.lines(answer, terminal, now=time.time(), picked=picked)))
    return 0


def run_retry(args: Namespace, options: Options) -> int:
    """Publish the documents again."""
    return _act(args, options, "retry", "retried")


def run_dismiss(args: Namespace, options: Options) -> int:
    """Stop listing the failures, after asking."""
    if not args.dry_run and not args.yes and sys.stdin.isatty() and not options.json:
        found = ask(options, "drop", _fields(args, dry_run=True))
        print(f"{plural(found['done'], 'failure')} will be dismissed. Go on? [y/N] ", end="")
        if input().strip().lower() not in ("y", "yes"):
            raise Stop("nothing was dismissed")
    return _act(args, options, "drop", "dismissed")


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
        print("\n".join(text.chosen(answer, verb)))
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
            print(text.progress(done, len(names), verb), file=sys.stderr, flush=True)
    return whole


def _fields(args: Namespace, *, dry_run: bool) -> dict[str, object]:
    picks = {name: getattr(args, name) for name in PICKS}
    if not (args.ids or args.all or any(picks.values())):
        raise Stop(
            "nothing is chosen", fix="give an ID (instep failures), --code C, --path GLOB or --all"
        )
    return {"ids": args.ids, "all": args.all, "dry_run": dry_run, **picks}
