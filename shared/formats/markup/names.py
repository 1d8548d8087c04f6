"""Texts that stand for a name in a document, such as the attributes of AsciiDoc."""

from dataclasses import dataclass, field
from typing import Final

MAX_PUT_IN_CHARS: Final = 1_000_000
"""Of all texts that are put in for names of a document: a name that stands for ten others, and
those for ten again, would make gigabytes of 400 bytes."""


@dataclass(slots=True)
class Replacements:
    """Not case-sensitive."""

    _texts: dict[str, str] = field(default_factory=dict)
    _left: int = MAX_PUT_IN_CHARS

    def give(self, name: str, text: str) -> None:
        self._texts[name.lower()] = text

    def text(self, name: str, written: str) -> str:
        """The text of a name; what is written, for one that is not known or is too much."""
        text = self._texts.get(name.lower())
        if text is None or len(text) > self._left:
            return written
        self._left -= len(text)
        return text
