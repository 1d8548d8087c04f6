"""`instep report`: one batch, the list of them, or the history of verdicts."""

import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from services.cli import exits
from services.cli.api.ask import ask
from services.cli.exits import Stop
from services.cli.terminal import Terminal, note, print_json
from services.cli.text import report as text
from services.host.options import Options

TREND: Final = 30
"""Batches before the report that its page shows."""


def run(args: Namespace, options: Options) -> int:
    """Print it; status 1 when the batch did not pass or is incomplete."""
    if args.list and args.history:
        raise Stop("report: --list or --history, not both")
    if args.list or args.history:
        return _lines(args, options)
    answer = ask(options, "report", {"batch": args.batch, "source": args.source})
    if args.html:
        _write(args.html, answer, options)
    if options.json:
        print_json(answer)
    elif not args.html:
        terminal = Terminal.of(sys.stdout, color=options.color)
        print("\n".join(text.lines(answer, terminal, now=time.time())))
    return exits.DONE if text.is_well(answer) else exits.NEEDS_YOU


def _lines(args: Namespace, options: Options) -> int:
    if args.html:
        raise Stop("report: a list has no page", fix="open /api/v1/reports of the gateway")
    fields = {"source": args.source, "limit": args.limit}
    answer = ask(options, "validations" if args.history else "batches", fields)
    if options.json:
        print_json(answer)
        return exits.DONE
    terminal = Terminal.of(sys.stdout, color=options.color)
    show = text.history if args.history else text.listed
    print("\n".join(show(answer, terminal, now=time.time())))
    return exits.DONE


def _write(name: str, answer: Mapping[str, Any], options: Options) -> None:
    from services.gateway.pages.report import report_page
    from shared.batches.reports import BatchReport, ReportLine

    report = BatchReport.model_validate(answer)
    before = ask(options, "batches", {"source": report.batch.source, "limit": TREND})
    page = report_page(report, [ReportLine.model_validate(line) for line in before["batches"]])
    if name == "-":
        print(page, end="")
        return
    try:
        Path(name).write_text(page, encoding="utf-8")
    except OSError as error:
        raise Stop(f"{name}: {error.strerror}") from None
    note(f"written: {name}")
