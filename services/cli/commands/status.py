"""`instep status`."""

import sys
import time
from argparse import Namespace
from typing import Any, Final

from services.cli.api.ask import ask, find
from services.cli.exits import unreachable
from services.cli.terminal import Terminal, print_json
from services.cli.text import status as text
from services.host.options import Options

EVERY_S: Final = 1.0
HOME_AND_CLEAR: Final = "\x1b[H\x1b[J"
CLEAR: Final = "\x1b[2J"


def run(args: Namespace, options: Options) -> int:
    """Print the state of the flow, once or again every second."""
    if not args.watch:
        _print(_answer(args, options), args, options)
        return 0
    animate = sys.stdout.isatty() and not options.json
    if animate:
        sys.stdout.write(CLEAR)
    while True:
        if find(options) is None:
            raise unreachable(
                f"no instance runs in {options.data}: there is nothing to watch",
                "instep up PATH; or instep status, without --watch",
            )
        answer = _answer(args, options)
        if animate:
            sys.stdout.write(HOME_AND_CLEAR)
        _print(answer, args, options)
        sys.stdout.flush()
        time.sleep(EVERY_S)


def _answer(args: Namespace, options: Options) -> dict[str, Any]:
    if args.pending:
        return ask(options, "documents", {"state": "queued,working", "limit": 200})
    return ask(options, "status", {})


def _print(answer: dict[str, Any], args: Namespace, options: Options) -> None:
    if options.json:
        print_json(answer)
        return
    terminal = Terminal.of(sys.stdout, color=options.color)
    show = text.pending if args.pending else text.lines
    print("\n".join(show(answer, terminal, now=time.time())))
