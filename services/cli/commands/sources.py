"""`instep sources`: where documents come from, and an end for those of a source."""

import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from services.cli import exits
from services.cli.api.ask import ask
from services.cli.exits import Stop
from services.cli.terminal import Terminal, ago, number, plural, print_json, table, visible
from services.cli.text.status import kind_of, past
from services.host.options import Options


def lines(answer: Mapping[str, Any], terminal: Terminal, *, now: float) -> list[str]:
    """A row for each source, then what to do about those that are not given any more."""
    if not answer["sources"]:
        return ["no source is known"]
    rows = [("SOURCE", "KIND", "DOCUMENTS", "LAST SEEN", "PATH")]
    rows += [
        (
            source["name"],
            kind_of(source),
            number(source["documents"]),
            f"{ago(source['last_seen'], now)} ago" if source.get("last_seen") else "-",
            visible(source["path"] or "-"),
        )
        for source in answer["sources"]
    ]
    told = [line for source in answer["sources"] for line in past(source, terminal)]
    return [*table(rows, right=(2,)), *(["", *told] if told else [])]


def run_list(_: Namespace, options: Options) -> int:
    """Print all sources."""
    answer = ask(options, "status", {})
    if options.json:
        print_json({"sources": answer["sources"]})
    else:
        terminal = Terminal.of(sys.stdout, color=options.color)
        print("\n".join(lines(answer, terminal, now=time.time())))
    return exits.DONE


def run_forget(args: Namespace, options: Options) -> int:
    """Take all documents of a source out of the index, after a question."""
    if not args.yes:
        _confirm(args.source, options)
    answer = ask(options, "forget", {"source": args.source})
    if options.json:
        print_json(answer)
    else:
        print(forgotten(answer))
    return exits.DONE


def forgotten(answer: Mapping[str, Any]) -> str:
    """The outcome."""
    more = f"; {answer['detail']}" if answer["detail"] else ""
    return f"{answer['source']}: {plural(answer['documents'], 'document')} removed{more}"


def _confirm(name: str, options: Options) -> None:
    """Raises Stop: the person says no, or cannot be asked."""
    found = [s for s in ask(options, "status", {})["sources"] if s["name"] == name]
    if not found:
        return  # the gateway refuses, with a suggestion
    many = plural(found[0]["documents"], "document")
    if not sys.stdin.isatty():
        raise Stop(
            f"{many} of {name} would leave the index", fix=f"instep sources forget {name} --yes"
        )
    print(f"remove {many} of {name} from the index? [y/N] ", end="", file=sys.stderr, flush=True)
    if input().strip().lower() not in ("y", "yes"):
        raise Stop("nothing was removed")
