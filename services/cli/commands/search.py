"""`instep search`."""

import re
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.cli.api.ask import ask
from services.cli.exits import Stop
from services.cli.terminal import Terminal, clock, plural, print_json, shorten, tame, visible
from services.host.options import Options

INDENT: Final = 10
_SPACE = re.compile(r"\s+")


def lines(answer: Mapping[str, Any], terminal: Terminal, *, now: float) -> list[str]:
    """The whole answer of a search."""
    found: list[str] = []
    for rank, hit in enumerate(answer["hits"], 1):
        found += _hit(rank, hit, terminal, now)
    if not answer["hits"]:
        found.append("nothing found")
        if answer.get("hint"):
            found.append(visible(answer["hint"]))
    for name, counts in (answer.get("facets") or {}).items():
        values = ", ".join(f"{value or '(none)'} {count:,}" for value, count in counts.items())
        found.append(f"{visible(name)}: {shorten(visible(values or '-'), terminal.width)}")
    if answer.get("language"):
        found.append(of_language(answer["language"]))
    return [*found, footer(answer, now=now)]


def of_language(told: Mapping[str, Any]) -> str:
    """Why a question found little by its meaning."""
    asked = "another language" if told["question"] == "unknown" else visible(told["question"])
    known = ", ".join(map(visible, told["model"]))
    return f"the model knows {known}; the question is in {asked}: it finds by its words mostly"


def footer(answer: Mapping[str, Any], *, now: float) -> str:
    """`2 of 214, 11 ms, generation g3, everything up to 12:03:06 included (3 pending)`."""
    total, behind = answer["total"], answer["freshness"]
    value = f"{total['value']:,}" + ("" if total["exact"] else " or more")
    parts = [f"{len(answer['hits'])} of {value}", f"{answer['took_ms']:.0f} ms"]
    parts.append(f"generation {answer['generation']}")
    if behind["watermark"]:
        parts.append(f"everything up to {clock(behind['watermark'], now=now)} included")
    else:
        parts.append("changes that are not listed yet may be missing")
    pending = behind["pending_documents"]
    parts += [f'only with "{visible(one)}"' for one in answer.get("phrases") or ()]
    parts += [f"without {visible(one)}" for one in answer.get("excluded") or ()]
    tail = f" ({plural(pending, 'document')} pending)" if pending else ""
    if behind.get("after_met") is False:
        tail += " (the submission of --after is not searchable yet)"
    return ", ".join(parts) + tail


def snippet(text: str, marks: Sequence[Sequence[int]], width: int, terminal: Terminal) -> str:
    """One line of the text around its first marked word, the marked words bold.

    Args:
        marks: start and end (characters) of words in `text`.
    """
    text = tame(_SPACE.sub(lambda found: " " * len(found[0]), text))
    first = marks[0][0] if marks else 0
    start = 0 if first < width * 2 // 3 else _word_start(text, first - width // 3)
    end = min(len(text), start + width - (1 if start else 0))
    tail = end < len(text)
    if tail:
        end -= 2
    pieces, at = [], start
    for begin, stop in marks:
        if begin >= at and stop <= end:
            pieces += [text[at:begin], terminal.paint(text[begin:stop], "bold")]
            at = stop
    pieces.append(text[at:end])
    line = _SPACE.sub(" ", "".join(pieces)).strip()
    return ("…" if start else "") + line + (" …" if tail else "")


def _word_start(text: str, at: int) -> int:
    space = text.find(" ", at)
    return space + 1 if 0 <= space < at + 20 else at


def _hit(rank: int, hit: Mapping[str, Any], terminal: Terminal, now: float) -> list[str]:
    document, chunk = hit["document"], hit["chunk"]
    name = f"{document['source']}/{document['path']}"
    place = " > ".join([name, *chunk["heading"]])
    room = terminal.width - 11
    head = f"{rank:<2} {hit['score']:.4f}  {terminal.paint(shorten(visible(place), room), 'bold')}"
    found = [head]
    if document["stale"]:
        found.append(" " * INDENT + terminal.paint(_stale(document, now), "yellow"))
    width = terminal.width - INDENT
    text = snippet(chunk["text"], hit.get("highlights") or [], width, terminal)
    found.append(" " * INDENT + text)
    if hit.get("copy_count"):
        found.append(" " * INDENT + _copies(hit, width))
    if hit.get("parts"):
        parts = (f"{name} {part['adds']:.4f}" for name, part in hit["parts"].items())
        found.append(" " * INDENT + terminal.paint(" + ".join(parts), "dim"))
    return found


def _copies(hit: Mapping[str, Any], width: int) -> str:
    """`and 4 copies: archive/a.md, …`."""
    names = ", ".join(f"{one['source']}/{one['path']}" for one in hit["copies"])
    count = plural(hit["copy_count"], "copy", "copies")
    return shorten(visible(f"and {count}: {names}"), width)


def weights_of(given: Sequence[str]) -> dict[str, float]:
    """`["recency=0.3"]` as the request has it. Raises Stop for what is no weight."""
    found = {}
    for one in given:
        name, _, value = one.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise Stop(
                f"{one!r} is not a weight", fix="write NAME=NUMBER, as recency=0.3"
            ) from None
    return found


def _stale(document: Mapping[str, Any], now: float) -> str:
    since = f" since {clock(document['stale_since'], now=now)}" if document["stale_since"] else ""
    reason = document["reason"]
    if document["state"] in ("refused", "failed") and reason:
        return f"STALE{since}: new version {document['state']} ({reason['code']})"
    return f"STALE{since}: a new version is on its way"


def _grouping(options: Options) -> str:
    """People see equal documents once; a program gets each."""
    return "document" if options.json else "content"


def run(args: Namespace, options: Options) -> int:
    """Ask the index and print the hits."""
    fields = {
        "q": " ".join(args.query),
        "mode": args.mode,
        "limit": args.limit,
        "filter": args.filter,
        "source": args.source,
        "weights": weights_of(args.weight) or None,
        "facets": args.facet,
        "explain": args.explain,
        "highlight": True,
        "group_by": "chunk" if args.chunks else _grouping(options),
        "after": args.after,
    }
    answer = ask(options, "search", fields)
    if options.json:
        print_json(answer)
    else:
        terminal = Terminal.of(sys.stdout, color=options.color)
        print("\n".join(lines(answer, terminal, now=time.time())))
    return 0
