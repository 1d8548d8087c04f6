"""Where the words of a question stand in a text. Pure."""

import re
from typing import Final

_WORD = re.compile(r"\w+")
_ENDINGS: Final = ("ings", "ing", "ions", "ion", "ies", "es", "ed", "s", "e")
_SMALL: Final = frozenset(
    {"all", "and", "any", "are", "can", "did", "does", "for", "from", "has", "have", "how", "into"}
    | {"its", "not", "our", "out", "that", "the", "this", "was", "were", "what", "when", "where"}
    | {"which", "who", "why", "with", "you", "your"}
)


def stem(word: str) -> str:
    """A rough common form: `rotating`, `rotates` and `rotate` meet."""
    folded = word.casefold()
    for ending in _ENDINGS:
        if folded.endswith(ending) and len(folded) - len(ending) >= 3:
            return folded.removesuffix(ending)
    return folded


def highlights(question: str, text: str, limit: int = 50) -> list[tuple[int, int]]:
    """Start and end (characters) of the words of `text` that the question has, at most `limit`."""
    words = [w for w in _WORD.findall(question) if len(w) > 2 and w.casefold() not in _SMALL]
    wanted = {stem(word) for word in words}
    if not wanted:
        return []
    found = []
    for word in _WORD.finditer(text):
        if stem(word[0]) in wanted:
            found.append(word.span())
            if len(found) == limit:
                break
    return found
