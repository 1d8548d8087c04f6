"""`instep holds`: removals that wait for a person."""

import sys
import time
from argparse import Namespace
from typing import Final

from services.cli import exits
from services.cli.ask import ask
from services.cli.exits import Stop
from services.cli.options import Options
from services.cli.terminal import Terminal, print_json
from services.cli.text import holds as text

TIMEOUT_S: Final = 600.0
"""A release lists the whole folder first."""


def run(args: Namespace, options: Options) -> int:
    """List what waits, or decide about one source; status 1 when nothing was done."""
    if args.action is not None:
        return _decide(args, options)
    answer = ask(options, "holds", {})
    if options.json:
        print_json(answer)
    else:
        terminal = Terminal.of(sys.stdout, color=options.color)
        print("\n".join(text.lines(answer, terminal, now=time.time())))
    return exits.DONE


def _decide(args: Namespace, options: Options) -> int:
    if not args.source:
        raise Stop(
            f"holds {args.action}: of which source?",
            fix=f"instep holds lists them; then: instep holds {args.action} SOURCE",
        )
    answer = ask(options, args.action, {"source": args.source}, timeout_s=TIMEOUT_S)
    if options.json:
        print_json(answer)
    else:
        print(text.decided(answer, args.action))
    return exits.DONE if answer["done"] else exits.NEEDS_YOU
