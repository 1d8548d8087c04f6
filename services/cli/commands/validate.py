"""`instep validate` and `instep sweep`: the commands that check the index."""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from services.cli import exits
from services.cli.api.ask import ask
from services.cli.exits import Stop
from services.cli.terminal import Terminal, print_json
from services.cli.text import checks as text
from services.cli.text import sweep as text_of_sweep
from services.host.options import Options


def run(args: Namespace, options: Options) -> int:
    """Check the index; status 1 when a check fails."""
    queries = read_queries(args.queries) if args.queries else None
    fields = {"batch": args.batch, "source": args.source, "queries": queries}
    answer = ask(options, "validate", fields)
    if options.json:
        print_json(answer)
    else:
        terminal = Terminal.of(sys.stdout, color=options.color)
        print("\n".join(text.lines(answer["checks"], terminal)))
    return exits.DONE if answer["passed"] else exits.NEEDS_YOU


def run_sweep(args: Namespace, options: Options) -> int:
    """Compare files, ledger and store; status 1 when something is left for a person."""
    fields = {"dry_run": args.dry_run, "batch_size": args.batch_size, "force": args.force}
    answer = ask(options, "sweep", fields)
    if options.json:
        print_json(answer)
    else:
        terminal = Terminal.of(sys.stdout, color=options.color)
        print("\n".join(text_of_sweep.lines(answer, terminal)))
    return exits.NEEDS_YOU if answer["needs_you"] else exits.DONE


def read_queries(name: str) -> list[dict[str, Any]]:
    """Questions with the document that each should find. Raises Stop at the first bad line."""
    try:
        text_of = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise Stop(f"{name}: {reason}") from None
    found = []
    for n, line in enumerate(text_of.splitlines(), 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            found.append({"q": str(item["q"]), "expect": str(item["expect"])})
        except (ValueError, KeyError, TypeError):
            raise Stop(f'{name}:{n}: not {{"q": …, "expect": "source/path"}}') from None
    return found
