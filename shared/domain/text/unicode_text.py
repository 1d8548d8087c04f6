"""The one spelling of words, in documents and in questions. Pure."""

import re
import unicodedata
from typing import Final

_IGNORABLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
"""Invisible, and without meaning for a word that they stand in: soft hyphens, joiners of words,
directions. U+200C and U+200D have a meaning in Persian, in Indic scripts and in emoji."""
_MARKS: Final = re.compile(r"([^\w\s\x00-\x7f]{32,})")
"""Where marks upon marks can be: Unicode's order of them takes quadratic time."""


def normalised(text: str) -> str:
    """The text in the Unicode form NFC, without characters that invisibly part a word.

    Runs of 32 and more characters that are neither letters, digits, blanks nor ASCII keep their
    form: no word has so many marks.
    """
    if text.isascii():
        return text
    parts = _MARKS.split(_IGNORABLE.sub("", text))
    parts[::2] = [unicodedata.normalize("NFC", part) for part in parts[::2]]
    return "".join(parts)


def compatible(text: str, without: re.Pattern[str]) -> str:
    """The text in the form NFKC, without the marks that `without` finds in its decomposition.

    Runs of marks keep their form, as in `normalised`.
    """
    parts = _MARKS.split(text.translate(_VOICED))
    for n, part in enumerate(parts[::2]):
        plain = without.sub("", unicodedata.normalize("NFKD", part))
        parts[2 * n] = unicodedata.normalize("NFC", plain)
    return "".join(parts)


_VOICED: Final = {0xFF9E: "\u3099", 0xFF9F: "\u309a"}
"""Letters whose compatible form is a mark: they would hide a run of marks."""
