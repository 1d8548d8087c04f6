"""One document as lines. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

from services.cli.terminal import Terminal, clock, plural, seconds, shorten, tame, visible
from services.cli.text.status import wrap

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


def _revision(name: str, revision: Mapping[str, Any], terminal: Terminal, now: float) -> list[str]:
    times = [f"changed {clock(revision['changed_at'], now=now, digits=2)}"]
    if revision["settled_at"]:
        done = "searchable" if revision["outcome"] == "indexed" else revision["outcome"]
        times.append(f"{done} {clock(revision['settled_at'], now=now, digits=2)}")
        times.append(seconds(revision["freshness_s"]))
    elif revision["waiting"]:
        times.append(f"{plural(revision['waiting'], 'chunk')} to go")
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
        text = [f"       {tame(line)}" for line in chunk["text"].splitlines()]
        return ["", terminal.paint(f" {chunk['n']:>4}  {heading}".rstrip(), "bold"), *text]
    flat = tame(_SPACE.sub(" ", chunk["text"])).strip()
    label = f"[{heading}] " if heading else ""
    return [shorten(f" {chunk['n']:>4}  {label}{flat}", terminal.width)]
