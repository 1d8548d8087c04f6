"""A question: words, `"phrases"` that a hit must hold, and `-words` that it must not. Pure.

Whatever cannot be read so is text: an odd quote, one within a word (`5" pipe`), a lone `-`, a
number (`-40`), a flag of one letter such as `-n`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from shared.domain.text.words import asked, places, spoken, words
from shared.ports import Hit

RESTRICTIONS: Final = 32
"""Phrases and exclusions of one question: each is looked for in thousands of texts."""
MARKED: Final = 20_000
"""Characters of a text in which words are marked: a chunk that came ready-made may have 512 KB, and
an answer has up to 200 of them."""
_RESTRICTION: Final = re.compile(r'(?:(?<=\s)|\A)(?:-(?:"([^"]*)"|([^\W\d_][^\s"]+))|"([^"]*)")')


@dataclass(frozen=True, slots=True)
class ParsedQuestion:
    """text: what is searched for, without exclusions and quotes. phrases: each as `spoken` words.

    excluded: each as the words that a hit may not all have; barred: phrases that it may not have.
    demanded, without: phrases and exclusions as they were written, to be told.
    """

    text: str
    phrases: tuple[tuple[str, ...], ...] = ()
    excluded: tuple[frozenset[str], ...] = ()
    barred: tuple[tuple[str, ...], ...] = ()
    demanded: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def finds_every_phrase(self) -> bool:
        """Whether a search by the words of `text` finds every row that has all phrases."""
        wanted = set(asked(self.text))
        return all(wanted & set(words(" ".join(phrase))) for phrase in self.phrases)

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
        told = bool(self.phrases or self.barred)
        said = [_in_a_row(spoken(part)) for part in parts] if told else []
        held = {word for part in parts for word in words(part)} if self.excluded else set()
        return (
            all(_says(said, _in_a_row(phrase)) for phrase in self.phrases)
            and not any(_says(said, _in_a_row(phrase)) for phrase in self.barred)
            and not any(term <= held for term in self.excluded)
        )


def parse_question(q: str) -> ParsedQuestion:
    """Read a question. One of exclusions only is text: it would find all the rest.

    Raises:
        ValueError: it has too many phrases and exclusions.
    """
    terms = list(_RESTRICTION.finditer(q))
    if len(terms) > RESTRICTIONS:
        raise ValueError(
            f"the question has {len(terms)} phrases and exclusions; it may have {RESTRICTIONS}"
        )
    phrases: dict[str, tuple[str, ...]] = {}
    excluded: dict[str, frozenset[str]] = {}
    barred: dict[str, tuple[str, ...]] = {}
    for away, word, phrase in (term.groups() for term in terms):
        if phrase:
            phrases[phrase] = tuple(spoken(phrase))
        elif away:
            barred[away] = tuple(spoken(away))
        elif word:
            excluded[word] = frozenset(words(word))
    text = _RESTRICTION.sub(lambda term: f" {term[3] or ''} ", q).strip()
    if text == q or not words(text):
        return ParsedQuestion(q)
    return ParsedQuestion(
        text,
        tuple(filter(None, phrases.values())),
        tuple(filter(None, excluded.values())),
        tuple(filter(None, barred.values())),
        tuple(written for written, found in phrases.items() if found),
        tuple(w for w, found in {**barred, **excluded}.items() if found),
    )


def highlights(question: ParsedQuestion, text: str, limit: int = 50) -> list[tuple[int, int]]:
    """Start and end (characters) of the words of `text` that the question asks for.

    `limit` at most, in order and apart, all at the beginning of a very long text.
    """
    wanted = set(asked(question.text))
    found: list[tuple[int, int]] = []
    if not wanted:
        return found
    for start, end, held in places(text[:MARKED]):
        if wanted.isdisjoint(held):
            continue
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif len(found) == limit:
            break
        else:
            found.append((start, end))
    return found


def says(parts: Iterable[str], phrase: Sequence[str]) -> bool:
    """Whether one of the texts has the words of a phrase, as `spoken`, one after the other."""
    row = _in_a_row(phrase)
    for part in parts:
        folded = part.casefold()
        needed = phrase if part.isascii() else phrase[:1]  # `spoken` has other letters' accents off
        if all(word in folded for word in needed) and row in _in_a_row(spoken(part)):
            return True
    return False


def _in_a_row(words_said: Sequence[str]) -> str:
    return f" {' '.join(words_said)} "


def _says(parts: Iterable[str], phrase: str) -> bool:
    """Whether one of the parts has the words of the phrase one after the other."""
    return any(phrase in part for part in parts)
