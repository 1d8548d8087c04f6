"""What a revision does to the text of its document, side by side and word by word. Pure.

The work is bounded: chunks are paired among the first of them, and words are compared where the
part in which two chunks differ is short.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from services.gateway.pages.markup import Markup
from services.gateway.pages.words import prose
from services.gateway.views import DiffChunk

ALIKE: Final = 0.3
"""Share of words in common from which on two chunks are a pair."""
MOST_PAIRS: Final = 40_000
"""Words of one chunk times those of the other, up to which they are compared."""
_WORDS: Final = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Change:
    """A chunk before and after; None: there is none."""

    old: DiffChunk | None
    new: DiffChunk | None
    old_text: Markup
    new_text: Markup


def changes(removed: Sequence[DiffChunk], added: Sequence[DiffChunk]) -> list[Change]:
    """The chunks of a revision beside those that they take the place of, in the order of the new
    ones; those that only leave come at the end.

    A new chunk whose text is not known yet is beside the first that nothing else resembles.
    """
    left = list(removed)
    bags = {one.n: _bag(one) for one in left}
    pairs: list[tuple[DiffChunk | None, DiffChunk]] = []
    for new in added:
        old = _nearest(new, left, bags)
        if old is not None:
            left.remove(old)
        pairs.append((old, new))
    found = [
        _change(left.pop(0) if old is None and new.text is None and left else old, new)
        for old, new in pairs
    ]
    return [*found, *(_change(old, None) for old in left)]


def _bag(chunk: DiffChunk) -> frozenset[str]:
    return frozenset((chunk.text or "").split())


def _nearest(
    new: DiffChunk, left: Sequence[DiffChunk], bags: dict[int, frozenset[str]]
) -> DiffChunk | None:
    words = _bag(new)

    def alike(old: DiffChunk) -> float:
        both = words | bags[old.n]
        return len(words & bags[old.n]) / len(both) if both else 0.0

    best = max(left, key=alike, default=None)
    return best if best is not None and alike(best) >= ALIKE else None


def _change(old: DiffChunk | None, new: DiffChunk | None) -> Change:
    before, after = (one.text or "" if one else "" for one in (old, new))
    if old is None or new is None or old.text is None or new.text is None:
        return Change(old, new, prose(before), prose(after))
    marked = marked_words(before, after)
    return Change(old, new, *marked)


def marked_words(old: str, new: str) -> tuple[Markup, Markup]:
    """Both texts as HTML, with the words marked that only one of them has."""
    a, b = _WORDS.findall(old), _WORDS.findall(new)
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    a_mid, b_mid = a[start : len(a) - end], b[start : len(b) - end]
    head, tail = prose("".join(a[:start])), prose("".join(a[len(a) - end :] if end else []))
    spans = [("replace", 0, len(a_mid), 0, len(b_mid))]
    if len(a_mid) * len(b_mid) <= MOST_PAIRS:
        spans = list(SequenceMatcher(None, a_mid, b_mid, autojunk=False).get_opcodes())
    gone, come = [], []
    for kind, i, j, k, m in spans:
        same = kind == "equal"
        gone.append(_marked("del", a_mid[i:j], same=same))
        come.append(_marked("ins", b_mid[k:m], same=same))
    return Markup(head + "".join(gone) + tail), Markup(head + "".join(come) + tail)


def _marked(tag: str, words: Sequence[str], *, same: bool) -> Markup:
    shown = prose("".join(words))
    return shown if same or not words else Markup(f"<{tag}>{shown}</{tag}>")
