"""`instep report`: one batch, the list of them, or the history of verdicts."""

import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from services.cli import exits
from services.cli.api.ask import ask
from services.cli.exits import Stop
from services.cli.terminal import (
    Terminal,
    clock,
    note,
    number,
    plural,
    print_json,
    seconds,
    shorten,
    shorten_path,
    table,
    visible,
)
from services.cli.text import checks
from services.cli.text.status import wrap
from services.host.options import Options

OUTCOMES: Final = (
    "inserted",
    "updated",
    "moved",
    "removed",
    "unchanged",
    "refused",
    "failed",
    "waiting",
    "missing",
)
_ALWAYS: Final = frozenset({"inserted", "updated", "removed", "refused", "failed"})
_BAD: Final = frozenset({"failed", "waiting", "missing"})
BAR: Final = 30
TROUBLES_SHOWN: Final = 20
SLOWEST_SHOWN: Final = 3


def is_well(report: Mapping[str, Any]) -> bool:
    """Whether the batch is complete, and no check has failed."""
    return bool(report["complete"]) and report["validation_passed"] is not False


def lines(report: Mapping[str, Any], terminal: Terminal, *, now: float) -> list[str]:
    """The summary of a batch."""
    batch = report["batch"]
    found = [
        f"batch {batch['id']} of {batch['source']}   {_word(report, terminal)}",
        f"{clock(batch['started_at'], now=now)} to {clock(report['finished_at'], now=now)}, "
        f"{seconds(report['elapsed_s'])}   {plural(batch['count'], 'document')}, {batch['format']}",
        "",
        *_counts(report, terminal),
    ]
    found += _freshness(report["freshness"])
    if report["checks"]:
        found += ["", *_checks(report["checks"], terminal)]
    found += _samples(report["samples"] or (), terminal)
    found += _slowest(report["slowest"], terminal)
    found += _troubles(report, terminal)
    model = f", model {report['model']}" if report["model"] else ""
    return [
        shorten_plain(x, terminal)
        for x in [*found, "", f"generation {report['generation']}{model}"]
    ]


def listed(answer: Mapping[str, Any], terminal: Terminal, *, now: float) -> list[str]:
    """A line for each batch, newest first; open ones before."""
    opened = _opened(answer.get("open") or (), terminal, now=now)  # an older gateway tells none
    if not answer["batches"]:
        return [*opened, "no batch has ended yet"]
    rows = [("STARTED", "SOURCE", "CHANGED", "BAD", "P95", "RESULT", "BATCH")]
    for line in answer["batches"]:
        done = line["documents"]
        changed = sum(done[name] for name in ("inserted", "updated", "moved", "removed"))
        rows.append(
            (
                when(line["batch"]["started_at"], now),
                shorten(line["batch"]["source"], 10),
                number(changed),
                number(sum(done[name] for name in _BAD) + done["refused"]),
                seconds(line["freshness"]["p95_s"]),
                _verdict(line),
                line["batch"]["id"],
            )
        )
    found = table(rows, right=(2, 3), width=terminal.width)
    return [*opened, *found, *(["and more: -n"] if answer["next_cursor"] else [])]


def _opened(batches: Sequence[Mapping[str, Any]], terminal: Terminal, *, now: float) -> list[str]:
    """A line for each open batch, and an empty one."""
    if not batches:
        return []
    rows = [("STARTED", "SOURCE", "OPEN BATCH", "SO FAR")]
    for one in batches:
        counts = {"accepted": one["accepted"], "refused": one["refused"], **one["states"]}
        told = [f"{count:,} {word}" for word, count in counts.items() if count]
        told += [f"{one['missing']:,} not there yet"] if one["missing"] else []
        batch = one["batch"]
        rows.append(
            (
                when(batch["started_at"], now),
                shorten(batch["source"], 10),
                visible(batch["id"]),
                ", ".join(told) or "nothing",
            )
        )
    return [*table(rows, width=terminal.width), ""]


def history(answer: Mapping[str, Any], terminal: Terminal, *, now: float) -> list[str]:
    """A line for each verdict, newest first."""
    if not answer["validations"]:
        return ["no validation has run yet"]
    rows = [("AT", "SOURCE", "RESULT", "DOCUMENTS", "DIFFER", "P95", "WHAT")]
    for point in answer["validations"]:
        checked = point["checked"]
        rows.append(
            (
                when(point["at"], now),
                shorten(point["source"] or "all", 10),
                _verdict(point),
                number(checked["documents"]),
                number(checked["failed"] + point["orphans"]),
                seconds(point["freshness"]["p95_s"]),
                point["batch"] or "instep validate",
            )
        )
    found = table(rows, right=(3, 4), width=terminal.width)
    return [*found, *(["and more: -n"] if answer["next_cursor"] else [])]


def when(text: str, now: float) -> str:
    """`15:39:18`, or `11-20 15:39` of another day."""
    shown = clock(text, now=now)
    return shown if " " not in shown else shown[5:16]


def _verdict(line: Mapping[str, Any]) -> str:
    passed = line.get("validation_passed", line.get("passed"))
    if not line["complete"]:
        return "INCOMPLETE"
    return "-" if passed is None else "passed" if passed else "FAILED"


def _word(report: Mapping[str, Any], terminal: Terminal) -> str:
    word = _verdict(report)
    if word == "-":
        return "nothing to check"
    return terminal.paint(word, {"passed": "green", "FAILED": "red"}.get(word, "yellow"))


def _counts(report: Mapping[str, Any], terminal: Terminal) -> list[str]:
    done, chunks, texts = report["documents"], report["chunks"], report["texts"]
    parts = [
        terminal.paint(f"{done[name]:,} {name}", "red")
        if name in _BAD and done[name]
        else f"{done[name]:,} {name}"
        for name in OUTCOMES
        if done[name] or name in _ALWAYS
    ]
    rate = report["per_second"]
    rates = f"{number(rate['chunks'])} per second" if rate["chunks"] else ""
    rows = {
        "documents": parts,
        "chunks": [f"{chunks[n]:,} {n}" for n in ("inserted", "kept", "removed")] + [rates],
        "texts": [f"{texts['encoded']:,} encoded", f"{texts['cached']:,} from the cache"],
    }
    return [line for word, some in rows.items() for line in _row(word, some, terminal)]


def _row(word: str, parts: Sequence[str], terminal: Terminal) -> list[str]:
    """A word, and its values on as many lines as needed."""
    first, *rest = wrap([part for part in parts if part], terminal.width - 11).split("\n")
    return [f"{word:<11}{first}", *(f"{'':<11}{line}" for line in rest)]


def _freshness(fresh: Mapping[str, Any]) -> list[str]:
    if not fresh["documents"]:
        return []
    found = [
        f"freshness  p50 {seconds(fresh['p50_s'])}   p95 {seconds(fresh['p95_s'])}   "
        f"longest {seconds(fresh['max_s'])}   over {fresh['warn_s']:g} s: {fresh['over']:,}"
    ]
    bins = fresh["histogram"]
    most = max(b["documents"] for b in bins)
    last = max(n for n, b in enumerate(bins) if b["documents"])
    first = min(n for n, b in enumerate(bins) if b["documents"])
    for bin_ in bins[first : last + 1]:
        end = "more" if bin_["up_to_s"] is None else f"to {bin_['up_to_s']:g} s"
        bar = "#" * bar_length(bin_["documents"], most)
        found.append(f"{'':<11}{end:>9}  {bin_['documents']:>8,}  {bar}".rstrip())
    return found


def bar_length(value: int, most: int) -> int:
    """Characters of a bar; a value above zero has at least one."""
    return max(1, round(BAR * value / most)) if value else 0


def _checks(found: Sequence[Mapping[str, Any]], terminal: Terminal) -> list[str]:
    """Each check, its fix on a line of its own, and the number of failures."""
    rows = []
    for check in found:
        word = terminal.paint(f"{check['level']:<4}", checks.STYLES[check["level"]])
        rows.append(f"{word}  {check['text']}")
        if check["fix"]:
            rows.append(f"      Fix: {check['fix']}")
    return [*rows, checks.total(found)]


def _samples(samples: Sequence[Mapping[str, Any]], terminal: Terminal) -> list[str]:
    lost = [sample for sample in samples if sample["rank"] is None]
    return [
        f"      {shorten(s['q'], 30)} -> {shorten_path(s['expect'], terminal.width - 40)}"
        for s in lost[:TROUBLES_SHOWN]
    ]


def _slowest(slowest: Sequence[Mapping[str, Any]], terminal: Terminal) -> list[str]:
    if not slowest:
        return []
    room = terminal.width - 11
    rows = [
        f"{seconds(slow['freshness_s']):>9}  {shorten_path(slow['document'], room)}"
        for slow in slowest[:SLOWEST_SHOWN]
    ]
    return ["", "slowest", *rows]


def _troubles(report: Mapping[str, Any], terminal: Terminal) -> list[str]:
    troubles = report["troubles"]
    if not troubles:
        return []
    rows = [("STATE", "REASON", "DOCUMENT")]
    rows += [
        (t["state"], t["code"], shorten_path(t["document"], max(20, terminal.width - 32)))
        for t in troubles[:TROUBLES_SHOWN]
    ]
    more = len(troubles) - TROUBLES_SHOWN + report["troubles_more"]
    tail = [f"and {more:,} more: instep failures, or --json"] if more > 0 else []
    return ["", *table(rows, width=terminal.width), *tail]


def shorten_plain(line: str, terminal: Terminal) -> str:
    """The line cut to fit; lines with colour are built short."""
    return line if "\x1b" in line else shorten(line, terminal.width)


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
        print("\n".join(lines(answer, terminal, now=time.time())))
    return exits.DONE if is_well(answer) else exits.NEEDS_YOU


def _lines(args: Namespace, options: Options) -> int:
    if args.html:
        raise Stop("report: a list has no page", fix="open /api/v1/reports of the gateway")
    fields = {"source": args.source, "limit": args.limit}
    answer = ask(options, "validations" if args.history else "batches", fields)
    if options.json:
        print_json(answer)
        return exits.DONE
    terminal = Terminal.of(sys.stdout, color=options.color)
    show = history if args.history else listed
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
