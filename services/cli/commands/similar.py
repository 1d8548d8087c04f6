"""`instep similar`."""

import sys
import time
from argparse import Namespace
from pathlib import Path

from services.cli.api.ask import ask
from services.cli.commands.search import lines
from services.cli.commands.show import fields_of
from services.cli.terminal import Terminal, print_json
from services.host.options import Options


def run(args: Namespace, options: Options) -> int:
    """Print the documents that are similar to one."""
    fields = {
        **fields_of(args.document, Path.cwd()),
        "limit": args.limit,
        "filter": args.filter,
        "source": args.source,
        "copies": args.copies or None,
        "explain": args.explain or None,
    }
    answer = ask(options, "similar", fields)
    if options.json:
        print_json(answer)
    else:
        terminal = Terminal.of(sys.stdout, color=options.color)
        print("\n".join(lines(answer, terminal, now=time.time())))
    return 0
