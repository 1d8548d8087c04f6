"""A question: words, `"phrases"` that a hit must hold, and `-words` that it must not. Pure.

Whatever cannot be read so is text: an odd quote, a lone `-`, a flag of one letter such as `-n`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shared.domain.text.words import asked, places, spoken, words
from shared.ports import Hit

_RESTRICTION: Final = re.compile(r'(?:(?<=\s)|\A)-(?:"([^"]*)"|([^\W_][^\s"]+))|"([^"]*)"')


@dataclass(frozen=True, slots=True)
class ParsedQuestion:
    """text: what is searched for, without exclusions and quotes. phrases: each as `spoken` words.

    excluded: each as the words that a hit may not all have; barred: phrases that it may not have.
    """

    text: str
    phrases: tuple[tuple[str, ...], ...] = ()
    excluded: tuple[frozenset[str], ...] = ()
    barred: tuple[tuple[str, ...], ...] = ()

    @property
    def restricts(self) -> bool:
        """Whether `admits` may refuse a hit."""
        return bool(self.phrases or self.excluded or self.barred)

    def admits(self, hit: Hit) -> bool:
        """Whether a hit has every phrase, each within its title, a heading or its text, and nothing
        that is excluded."""
        if not self.restricts:
            return True
        parts = (hit.title, *hit.heading, hit.text)
        said = [spoken(part) for part in parts] if self.phrases or self.barred else []
        held = {word for part in parts for word in words(part)} if self.excluded else set()
        return (
            all(_says(said, phrase) for phrase in self.phrases)
            and not any(_says(said, phrase) for phrase in self.barred)
            and not any(term <= held for term in self.excluded)
        )


def parse_question(q: str) -> ParsedQuestion:
    """Read a question. One of exclusions only is text: it would find all the rest."""
    phrases: list[tuple[str, ...]] = []
    excluded: list[frozenset[str]] = []
    barred: list[tuple[str, ...]] = []
    for away, word, phrase in (term.groups() for term in _RESTRICTION.finditer(q)):
        if phrase:
            phrases.append(tuple(spoken(phrase)))
        elif away:
            barred.append(tuple(spoken(away)))
        elif word:
            excluded.append(frozenset(words(word)))
    text = _RESTRICTION.sub(lambda term: f" {term[3] or ''} ", q).strip()
    if text == q or not words(text):
        return ParsedQuestion(q)
    return ParsedQuestion(
        text,
        tuple(filter(None, phrases)),
        tuple(filter(None, excluded)),
        tuple(filter(None, barred)),
    )


def highlights(question: ParsedQuestion, text: str, limit: int = 50) -> list[tuple[int, int]]:
    """Start and end (characters) of the words of `text` that the question asks for.

    `limit` at most, in order and apart.
    """
    wanted = set(asked(question.text))
    found: list[tuple[int, int]] = []
    if not wanted:
        return found
    for start, end, held in places(text):
        if wanted.isdisjoint(held):
            continue
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif len(found) == limit:
            break
        else:
            found.append((start, end))
    return found


def _says(parts: Iterable[list[str]], phrase: tuple[str, ...]) -> bool:
    """Whether one of the parts has the words of the phrase one after the other."""
    inner = f" {' '.join(phrase)} "
    return any(inner in f" {' '.join(part)} " for part in parts)
