"""`instep sweep`."""

import sys
from argparse import Namespace
from typing import Final

from services.cli import exits
from services.cli.api.ask import ask
from services.cli.terminal import Terminal, print_json
from services.cli.text import sweep as text
from services.host.options import Options

TIMEOUT_S: Final = 6 * 3600.0
"""A large index whose store was lost is written anew meanwhile."""


def run(args: Namespace, options: Options) -> int:
    """Compare files, ledger and store; status 1 when something is left for a person."""
    fields = {"dry_run": args.dry_run, "batch_size": args.batch_size, "force": args.force}
    answer = ask(options, "sweep", fields, timeout_s=TIMEOUT_S)
    if options.json:
        print_json(answer)
    else:
        print("\n".join(text.lines(answer, Terminal.of(sys.stdout, color=options.color))))
    return exits.NEEDS_YOU if answer["needs_you"] else exits.DONE
