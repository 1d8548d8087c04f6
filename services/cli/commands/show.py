"""`instep show`."""

import sys
import time
from argparse import Namespace
from pathlib import Path

from services.cli.api.ask import ask
from services.cli.terminal import Terminal, print_json
from services.cli.text import show as text
from services.host.options import Options


def run(args: Namespace, options: Options) -> int:
    """Print one document."""
    answer = ask(options, "document", fields_of(args.document, Path.cwd()))
    if options.json:
        print_json(answer)
    else:
        terminal = Terminal.of(sys.stdout, color=options.color)
        shown = text.lines(answer, terminal, now=time.time(), full=args.chunks)
        print("\n".join(shown))
    return 0


def fields_of(typed: str, here: Path) -> dict[str, str]:
    """The fields of the request: the name as typed, and the file that it may mean.

    This includes files that are gone: the person may look for the document of one.
    """
    path = Path(typed)
    absolute = path if path.is_absolute() else here / path
    parts: list[str] = []
    for part in absolute.parts:
        if part == "..":
            parts = parts[:-1] if len(parts) > 1 else parts
        else:
            parts.append(part)
    return {"name": typed.lstrip("/") or typed, "file": str(Path(*parts))}
