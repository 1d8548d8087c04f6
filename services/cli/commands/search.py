"""`instep search`."""

import sys
import time
from argparse import Namespace

from services.cli.api.ask import ask
from services.cli.terminal import Terminal, print_json
from services.cli.text import search as text
from services.host.options import Options


def run(args: Namespace, options: Options) -> int:
    """Ask the index and print the hits."""
    fields = {
        "q": " ".join(args.query),
        "mode": args.mode,
        "limit": args.limit,
        "filter": args.filter,
        "source": args.source,
        "explain": args.explain,
        "highlight": True,
        "group_by": "chunk" if args.chunks else None,
        "after": args.after,
    }
    answer = ask(options, "search", fields)
    if options.json:
        print_json(answer)
    else:
        terminal = Terminal.of(sys.stdout, color=options.color)
        print("\n".join(text.lines(answer, terminal, now=time.time())))
    return 0
