"""`instep failed`, `retry` and `drop`."""

import sys
import time
from argparse import Namespace

from services.cli import exits
from services.cli.ask import ask
from services.cli.exits import Stop
from services.cli.options import Options
from services.cli.terminal import Terminal, plural, print_json
from services.cli.text import failures as text


def run_list(args: Namespace, options: Options) -> int:
    """Print the failures with what to do about them."""
    answer = ask(options, "failures", {"source": args.source, "code": args.code})
    if options.json:
        print_json(answer)
    else:
        terminal = Terminal.of(sys.stdout, color=options.color)
        print("\n".join(text.lines(answer, terminal, now=time.time())))
    return 0


def run_retry(args: Namespace, options: Options) -> int:
    """Publish the documents again."""
    return _act(args, options, "retry", "retried")


def run_drop(args: Namespace, options: Options) -> int:
    """Forget the failures, after asking."""
    if not args.dry_run and not args.yes and sys.stdin.isatty() and not options.json:
        found = ask(options, "drop", _fields(args, dry_run=True))
        print(f"{plural(found['done'], 'failure')} will be forgotten. Go on? [y/N] ", end="")
        if input().strip().lower() not in ("y", "yes"):
            raise Stop("nothing was dropped")
    return _act(args, options, "drop", "dropped")


def _act(args: Namespace, options: Options, operation: str, verb: str) -> int:
    answer = ask(options, operation, _fields(args, dry_run=args.dry_run))
    if options.json:
        print_json(answer)
    else:
        print("\n".join(text.chosen(answer, verb)))
    return exits.NEEDS_YOU if answer["skipped"] else exits.DONE


def _fields(args: Namespace, *, dry_run: bool) -> dict[str, object]:
    if not (args.ids or args.code or args.all):
        raise Stop("nothing is chosen", fix="give an ID (instep failed), --code C or --all")
    return {
        "ids": args.ids,
        "code": args.code,
        "source": args.source,
        "all": args.all,
        "dry_run": dry_run,
    }
