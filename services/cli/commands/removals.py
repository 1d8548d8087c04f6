"""`instep removals`: removals that wait for a person."""

import sys
import time
from argparse import Namespace
from typing import Final

from services.cli import exits
from services.cli.api.ask import ask
from services.cli.terminal import Terminal, print_json
from services.cli.text import removals as text
from services.host.options import Options

TIMEOUT_S: Final = 600.0
"""An approval lists the whole folder first."""


def run_list(_: Namespace, options: Options) -> int:
    """Print the removals that wait, and how to decide about them."""
    answer = ask(options, "holds", {})
    if options.json:
        print_json(answer)
    else:
        terminal = Terminal.of(sys.stdout, color=options.color)
        print("\n".join(text.lines(answer, terminal, now=time.time())))
    return exits.DONE


def run_approve(args: Namespace, options: Options) -> int:
    """Take the documents of a source out of the index; status 1 when nothing was done."""
    return _decide(args.source, options, "release")


def run_reject(args: Namespace, options: Options) -> int:
    """Leave the documents of a source in the index; status 1 when nothing was done."""
    return _decide(args.source, options, "keep")


def _decide(source: str, options: Options, operation: str) -> int:
    answer = ask(options, operation, {"source": source}, timeout_s=TIMEOUT_S)
    if options.json:
        print_json(answer)
    else:
        print(text.decided(answer, operation))
    return exits.DONE if answer["done"] else exits.NEEDS_YOU
