"""The words that keyword search matches, of documents and of questions. Pure.

One function makes both, so a word meets itself in every store: a store keeps `column(...)` beside
the row, cuts it at blanks and compares what it finds, without stems, stop words or a limit of
length of its own. Whatever a text holds between two blanks gives the same words wherever it stands.

    Rotating max_payload  ->  rotat max payload maxpayload
    node.js, C++, ERR-1043  ->  node js nodej c c++ err 1043 err1043
    备份  ->  备 份 备份
"""

import hashlib
import re
import threading
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final

import Stemmer

from shared.domain.text.unicode_text import compatible, normalised

VERSION: Final = 1
"""Counts changes of the words that `words` makes, those of another release of Snowball included; a
store that notes another one writes its column anew."""
LONGEST: Final = 128
"""Characters of a word that is written as it is; a longer one is written as its digest, because
stores limit the length of a term."""
REMEMBERED: Final = 16_384
"""Pieces of text whose words are remembered: most of a text is a few thousand words."""
REMEMBERED_CHARS: Final = 40

_SMALL_WORDS: Final = """
a about am an and any are as at be been being but by can cant could did didnt do does doesnt doing
dont for from had has have having how i if in into is isnt it its me my no nor not of on or our
should so such than that the their them then there these they this those to too was we were what
when where which who whom why will with wont would you your
"""
SMALL: Final = frozenset(_SMALL_WORDS.split())
"""Words that a question is made with. It asks for them only where it has no others."""
_CLITICS: Final = frozenset({"s", "d", "m", "ll", "re", "ve"})

_IN_PAIRS: Final = tuple(
    f"{script} "
    for script in (
        *("BALINESE", "BOPOMOFO LETTER", "CJK UNIFIED", "CJK COMPATIBILITY", "HANGUL", "HIRAGANA"),
        *("IDEOGRAPHIC", "JAVANESE", "KATAKANA", "KATAKANA-HIRAGANA", "KHMER", "LAO", "MYANMAR"),
        *("THAI", "TIBETAN", "VERTICAL IDEOGRAPHIC", "YI"),
    )
)
"""Beginnings of the Unicode names of characters of scripts that put no blank between words. Korean
puts some, but joins endings to its words."""
_STEMMERS: Final = {
    "ARABIC": "arabic",
    "ARMENIAN": "armenian",
    "CYRILLIC": "russian",
    "DEVANAGARI": "hindi",
    "GREEK": "greek",
    "LATIN": "english",
    "TAMIL": "tamil",
}
"""The stemmer of a script, the first word of a letter's Unicode name. A question is too short to
tell its language, and both sides need the same stems."""

_ACCENTS: Final = re.compile(
    "(?<=[A-Za-z\u00c0-\u024f\u0370-\u03ff])[\u0300-\u036f]+"
    "|[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670]+"
    "|[\u200d\ufe00-\ufe0f]+"
)
"""Marks of Latin and Greek letters, the vowels of Hebrew and Arabic, and what chooses a shape of a
character: few people type them."""
_NOT: Final = re.compile(r"(?i)(?<=n)['\u2019](?=t\b)")
_LETTERS: Final = str.maketrans(
    {"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "ħ": "h"}
    | {"\u0131": "i", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "þ": "th", "Þ": "TH"}
)

# The expressions below read a string of kinds, one for each character: U capital, l other letter,
# m mark, d digit, c character of a script written in pairs, s symbol, ASCII punctuation itself.
_RUN: Final = re.compile(r"[Uld][Uldm]*+(?:[:/\\@._'&-]{1,3}[Uld][Uldm]*+)*+|c[cm]*+|s")
_WORD: Final = re.compile(r"[Uldm]++")
_INNER: Final = re.compile(r"_+|[-.'&]")
"""Between the words of a name; other joints join names to a path."""
_CAMEL: Final = re.compile(r"lU|U{2}l{2}")
_HUMPS: Final = re.compile(r"U+(?=U[lm])|U?[lm]+|U+|d+")
_TWO: Final = re.compile(r"(?:[Ulm]{2,}+d++|d++[Ulm]++)\Z")
_TWO_PARTS: Final = re.compile(r"[Ulm]+|d+")
_CLUSTER: Final = re.compile(r"cm*")
_SPOKEN: Final = re.compile(r"cm*|[Uld][Uldm]*+(?:'[Uld][Uldm]*+)*+|(?<=[Uldm])(?:\+\+|#)|s")


def words(text: str) -> list[str]:
    """The words of a text, in its order; none holds a blank."""
    return [word for piece in normalised(text).split() for word in _words_of(piece)]


def asked(question: str) -> list[str]:
    """Those of its words that a question is about, each once.

    Without small words unless there are only small words (`The Who`), and without the single
    characters of a run that is asked for in pairs.
    """
    found: dict[str, None] = {}
    for piece in normalised(question).split():
        names = _words_of(piece)
        pairs = {character for word in names if _is_pair(word) for character in _clusters(word)}
        found |= dict.fromkeys(word for word in names if word not in pairs)
    if all(word.casefold() in SMALL for word in found):
        return list(found)
    return [word for word in found if word not in SMALL]


def spoken(text: str) -> list[str]:
    """The words of a text one after the other, each once and without its stem: to compare phrases.

    Punctuation is none, and a character of a script without blanks is a word.
    """
    plain = compatible(normalised(text), _ACCENTS).translate(_LETTERS)
    kinds = plain.translate(_KINDS)
    return [plain[one.start() : one.end()].casefold() for one in _SPOKEN.finditer(kinds)]


def places(text: str) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Start and end (characters) of each word, name and pair of a text, and its words.

    In the order of their starts. A name and a pair have the words that none of their parts has.
    """
    kinds = text.translate(_KINDS)
    for run in _RUN.finditer(kinds):
        start, end = run.span()
        inner = _CLUSTER if run[0][0] == "c" else _WORD
        spans = [one.span() for one in inner.finditer(kinds, start, end)] or [(start, end)]
        joined = pairwise(spans) if inner is _CLUSTER else [(spans[0], spans[-1])]
        held = {span: _words_of(text[span[0] : span[1]]) for span in spans}
        parts = {word for found in held.values() for word in found}
        for (first, _), (_, last) in joined:
            if (first, last) not in held:
                words_of = _words_of(text[first:last])
                held[first, last] = tuple(word for word in words_of if word not in parts)
        yield from ((*span, held[span]) for span in sorted(held))


def column(title: str, heading: Sequence[str], text: str) -> str:
    """What a store keeps of a row for its keyword search: words with one blank between them."""
    return " ".join(words("\n".join((title, *heading, text))))


def _words_of(piece: str) -> tuple[str, ...]:
    return _remembered(piece) if len(piece) <= REMEMBERED_CHARS else _cut(piece)


def _cut(piece: str) -> tuple[str, ...]:
    """The words of a text without blanks."""
    piece = _NOT.sub("", piece)
    if piece.isascii():
        return tuple(_names(piece))
    plain = compatible(piece, _ACCENTS).translate(_LETTERS)
    return tuple(name for part in plain.split() for name in _names(part))


_remembered = lru_cache(REMEMBERED)(_cut)


def _names(piece: str) -> Iterator[str]:
    kinds = piece.translate(_KINDS)
    for run in _RUN.finditer(kinds):
        start, end = run.span()
        if run[0][0] == "c":
            yield from _in_pairs(piece[start:end], run[0])
        elif run[0] == "s":
            yield piece[start:end]
        else:
            yield from map(_short, _path(piece[start:end], run[0]))
            yield from map(_short, _with_signs(piece, kinds, start, end))


def _with_signs(piece: str, kinds: str, start: int, end: int) -> Iterator[str]:
    """`C++` and `C#`, `.NET` and `.env`, which are more than their letters."""
    sign = "++" if kinds.startswith("++", end) else kinds[end : end + 1]
    if sign in ("++", "#") and kinds[end - 1] != "d":
        last = re.split(r"[^Uldm]", kinds[start:end])[-1]
        yield piece[end - len(last) : end].casefold() + sign
    if start and kinds[start - 1] == "." and (start == 1 or kinds[start - 2] not in ".Uldmc"):
        first = _WORD.match(kinds, start)
        if first:
            yield "." + piece[start : first.end()].casefold()


def _path(text: str, kinds: str) -> Iterator[str]:
    """The words of names that `/`, `:` and the like join, each name whole, and all of it."""
    names: list[list[str]] = [[]]
    at = 0
    for found in _WORD.finditer(kinds):
        start, end = found.span()
        joint, word = kinds[at:start], text[start:end]
        if at and not _INNER.fullmatch(joint):
            names.append([])
        at = end
        if joint == "'" and word.casefold() in _CLITICS:
            continue
        names[-1].append(word)
        yield from _forms(word, found[0])
    for name in names:
        if len(name) > 1:
            yield _stem(_joined(name))
    if len(names) > 1:
        yield _stem(_joined([word for name in names for word in name]))


def _joined(name: Iterable[str]) -> str:
    """The words of a name as one, however they were joined; two numbers stay apart."""
    whole = ""
    for word in name:
        folded = word.casefold()
        whole += "." + folded if whole[-1:].isdigit() and folded[0].isdigit() else folded
    return whole


def _forms(word: str, kinds: str) -> Iterator[str]:
    """A word, and its parts: `getUserName`, `python3`, `100MB`."""
    folded = word.casefold()
    if folded in SMALL:
        yield folded
        if len(word) > 1 and "l" not in kinds:
            yield word  # IT is a name
        return
    yield _stem(folded)
    if _TWO.match(kinds):
        parts = _TWO_PARTS
    elif "d" not in kinds.rstrip("d") and _CAMEL.search(kinds):
        parts = _HUMPS
    else:
        return
    for part in parts.finditer(kinds):
        yield _stem(word[part.start() : part.end()].casefold())


def _in_pairs(text: str, kinds: str) -> Iterator[str]:
    """Each character with its marks, and each with the next."""
    found = [text[one.start() : one.end()] for one in _CLUSTER.finditer(kinds)]
    yield from found
    yield from map("".join, pairwise(found))


def _clusters(word: str) -> list[str]:
    return [word[one.start() : one.end()] for one in _CLUSTER.finditer(word.translate(_KINDS))]


def _is_pair(word: str) -> bool:
    return not word.isascii() and len(_clusters(word)) == 2


def _short(word: str) -> str:
    if len(word) <= LONGEST:
        return word
    return "#" + hashlib.blake2b(word.encode(), digest_size=16).hexdigest()


_HERE = threading.local()
"""The stemmers of a thread: one is not to be used by two."""


def _stem(word: str) -> str:
    if len(word) < 3 or len(word) > LONGEST or any(map(str.isdigit, word)):
        return word
    name = _stemmer_of(word[0])
    if name is None:
        return word
    known: dict[str, Stemmer.Stemmer] = _HERE.__dict__
    if name not in known:
        known[name] = Stemmer.Stemmer(name, 0)
    return known[name].stemWord(word) or word


@lru_cache(REMEMBERED)
def _stemmer_of(letter: str) -> str | None:
    return _STEMMERS.get(unicodedata.name(letter, "").partition(" ")[0])


class _Kinds(dict[int, str]):
    """Kind of each character, made when it is first met."""

    def __missing__(self, point: int) -> str:
        self[point] = kind = _kind(chr(point))
        return kind


def _kind(character: str) -> str:
    if character.isascii() and character in "_-.:/\\@'&+#":
        return character
    category = unicodedata.category(character)
    if category[0] == "L" and unicodedata.name(character, "").startswith(_IN_PAIRS):
        return "c"
    if category in ("Lu", "Lt"):
        return "U"
    if category in ("So", "Sm", "Sc") and not character.isascii():
        return "s"
    return {"L": "l", "M": "m", "N": "d"}.get(category[0]) or _SPELT.get(character, " ")


_SPELT: Final = {"\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2019": "'"}
_KINDS: Final = _Kinds()
