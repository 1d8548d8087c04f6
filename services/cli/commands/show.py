"""`instep show`."""

import re
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from services.cli.api.ask import ask
from services.cli.terminal import (
    Terminal,
    clock,
    plural,
    print_json,
    seconds,
    shorten,
    shorten_path,
    table,
    tame,
    visible,
)
from services.cli.text.status import wrap
from services.host.options import Options
from shared.domain.formats import in_words
from shared.domain.metadata import OF_DOCUMENT

_SPACE = re.compile(r"\s+")
_STYLES: Final = {"searchable": "green", "refused": "yellow", "failed": "red"}


def lines(
    answer: Mapping[str, Any], terminal: Terminal, *, now: float, full: bool = False
) -> list[str]:
    """State, reason, fix, revisions, chunks. `full`: with the whole text of the chunks."""
    word = answer["state"].upper() + (" (STALE)" if answer["stale"] else "")
    parts = [
        terminal.paint(visible(f"{answer['source']}/{answer['path']}"), "bold"),
        terminal.paint(word, _STYLES.get(answer["state"], "cyan")),
        answer["doc_key"],
        f"generation {answer['generation']}",
    ]
    found = [wrap(parts, terminal.width), f" why: {visible(answer['why'])}"]
    if answer["fix"]:
        found.append(f" fix: {answer['fix']}")
    found += _described(answer)
    for name in ("pending", "served"):
        if answer[name]:
            found += _revision(name, answer[name], terminal, now)
    newest, served = answer["newest"], answer["served"] or {}
    if newest and newest["sequence"] != served.get("sequence"):
        changed = clock(newest["changed_at"], now=now)
        found.append(f" newest   {newest['sequence']}   {newest['op']} {changed}")
    for chunk in answer["chunks"] or ():
        found += _chunk(chunk, terminal, full=full)
    return found


def _described(answer: Mapping[str, Any]) -> list[str]:
    """Title, metadata and a guessed encoding, each with its origin."""
    origins = dict(answer["origins"])
    own = {name: origins.pop(name, "") for name in OF_DOCUMENT}
    values = [(name, value, origins.get(name, "")) for name, value in answer["metadata"].items()]
    if answer["title"]:
        values.insert(0, ("title", answer["title"], own["title"]))
    if own["encoding"]:
        values.append(("encoding", own["encoding"], ""))
    if ("language", "unknown", "guessed") in values:
        values[values.index(("language", "unknown", "guessed"))] = ("language", "unknown", "")
    unfit = answer.get("unfit", {})  # an older gateway tells none
    return [
        f" {visible(name):<8} {visible(str(value))}"
        + (f" ({visible(origin)})" if origin else "")
        + (f", which is no {unfit[name]}: filters take it as missing" if name in unfit else "")
        for name, value, origin in values
    ]


def _revision(name: str, revision: Mapping[str, Any], terminal: Terminal, now: float) -> list[str]:
    times = [f"changed {clock(revision['changed_at'], now=now, digits=2)}"]
    if revision["settled_at"]:
        shown = "searchable" if revision.get("is_active", True) else "inactive"
        done = shown if revision["outcome"] == "indexed" else revision["outcome"]
        times.append(f"{done} {clock(revision['settled_at'], now=now, digits=2)}")
        times.append(seconds(revision["freshness_s"]))
    elif revision["waiting"]:
        times.append(f"{plural(revision['waiting'], 'chunk')} to go")
    if (score := revision.get("static_score")) is not None:
        times.append(f"static score {score:g}")
    head = wrap([f" {name:<8} {revision['sequence']}", *times], terminal.width)
    chunks = (
        f"          {plural(revision['chunks'], 'chunk')}: {revision['inserted']} new, "
        f"{revision['kept']} kept, {revision['removed']} removed; {revision['encoded']} embedded"
    )
    return [head, chunks]


def _chunk(chunk: Mapping[str, Any], terminal: Terminal, *, full: bool) -> list[str]:
    heading = visible(" > ".join(chunk["heading"]))
    if chunk["text"] is None:
        return [f" {chunk['n']:>4}  (missing in the store; the next sweep writes it anew)"]
    if full:
        whole = chunk.get("embedded") or chunk["text"]  # an older gateway tells the text alone
        text = [f"       {tame(line)}" for line in whole.splitlines()]
        return ["", terminal.paint(f" {chunk['n']:>4}  {heading}".rstrip(), "bold"), *text]
    flat = tame(_SPACE.sub(" ", chunk["text"])).strip()
    label = f"[{heading}] " if heading else ""
    return [shorten(f" {chunk['n']:>4}  {label}{flat}", terminal.width)]


def run(args: Namespace, options: Options) -> int:
    """Print one document, or what a folder leaves out."""
    fields = fields_of(args.document, Path.cwd())
    if args.document.endswith("/") or _is_folder(args.document):
        return _run_folder(fields, options)
    if args.history or args.diff:
        return _run_revisions("history" if args.history else "diff", fields, options)
    answer = ask(options, "document", fields)
    if options.json:
        print_json(answer)
    else:
        terminal = Terminal.of(sys.stdout, color=options.color)
        shown = lines(answer, terminal, now=time.time(), full=args.chunks)
        print("\n".join(shown))
    return 0


def _is_folder(typed: str) -> bool:
    try:
        return Path(typed).is_dir()
    except (OSError, ValueError):  # no file can have such a name
        return False


def _run_folder(fields: dict[str, str], options: Options) -> int:
    answer = ask(options, "left_out", fields)
    if options.json:
        print_json(answer)
    else:
        print("\n".join(left_out_lines(answer, Terminal.of(sys.stdout, color=options.color))))
    return 0


def _run_revisions(operation: str, fields: dict[str, str], options: Options) -> int:
    answer = ask(options, operation, fields)
    if options.json:
        print_json(answer)
    else:
        terminal = Terminal.of(sys.stdout, color=options.color)
        if operation == "history":
            told = history_lines(answer, terminal, now=time.time())
        else:
            told = diff_lines(answer, terminal)
        print("\n".join(told))
    return 0


def history_lines(answer: Mapping[str, Any], terminal: Terminal, *, now: float) -> list[str]:
    """A line for each known revision, newest first, and how far back they are known."""
    rows = [("CHANGED", "OUTCOME", "CHUNKS", "NEW", "KEPT", "GONE", "TOOK", "REVISION")]
    reasons = []
    for one in answer["revisions"]:
        counts = [f"{one[name]:,}" for name in ("chunks", "inserted", "kept", "removed")]
        took = seconds(one["freshness_s"]) if one["freshness_s"] is not None else "-"
        changed = clock(one["changed_at"], now=now)
        rows.append((changed, one["outcome"], *counts, took, str(one["sequence"])))
        if one["reason"]:
            told = f"{one['reason']['code']}: {one['reason']['text']}"
            reasons.append(shorten(visible(f" {one['sequence']}  {told}"), terminal.width))
    if answer["whole"]:
        tail = "the bus keeps outcomes for 7 days; of quick changes perhaps only the last"
    else:
        tail = "not all outcomes were looked through: the bus has too many"
    title = terminal.paint(visible(f"{answer['source']}/{answer['path']}"), "bold")
    return [title, *table(rows, right=(2, 3, 4, 5, 6)), *reasons, tail]


def diff_lines(answer: Mapping[str, Any], terminal: Terminal) -> list[str]:
    """The chunks that the newest revision takes out and adds, each with its first words."""
    title = terminal.paint(visible(f"{answer['source']}/{answer['path']}"), "bold")
    state = "is being made" if answer["pending"] else "is done"
    counts = f"{answer['kept']:,} kept, {answer['added']:,} added, {answer['removed']:,} removed"
    found = [title, f"revision {answer['revision']} {state}: {counts}"]
    for name, mark, color in (("removed", "-", "red"), ("added", "+", "green")):
        shown = answer[f"{name}_chunks"]
        for chunk in shown:
            heading = visible(" > ".join(chunk["heading"]))
            words = tame(_SPACE.sub(" ", chunk["text"] or "(not in the store)")).strip()
            label = f"[{heading}] " if heading else ""
            line = shorten(f"{mark} {chunk['n']:>4}  {label}{words}", terminal.width)
            found.append(terminal.paint(line, color))
        if shown and len(shown) < answer[name]:
            found.append(f"{mark} and {answer[name] - len(shown):,} more")
    if not answer["removed_known"]:
        found.append("what was removed is gone from the index, so its texts are not known")
    return found


def left_out_lines(answer: Mapping[str, Any], terminal: Terminal) -> list[str]:
    """The counts of what a folder leaves out, and some of it, each with its rule."""
    name = visible("/".join(filter(None, (answer["source"], answer["path"]))))
    title = terminal.paint(name, "bold")
    if answer["why"]:
        fix = [f" fix: {visible(answer['fix'])}"] if answer.get("fix") else []
        return [f"{title} is left out: {visible(answer['why'])}", *fix]
    counts, some = answer["counts"], answer["some"]
    if not counts:
        return [f"{title}: nothing is left out but hidden and temporary files"]
    width = max(20, terminal.width // 2)
    rows = [(shorten_path(path, width), visible(why)) for path, why in sorted(some.items())]
    more = sum(counts.values()) - len(rows)
    tail = [f"and {more:,} more"] if more > 0 else []
    return [f"{title}: left out: {visible(in_words(counts))}", "", *table(rows), *tail]


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
