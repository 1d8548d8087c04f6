"""The language of a text, by its statistics (py3langid).

The model takes 73 MB and 0.9 s to load, so the first text that asks loads it.
"""

import threading
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

UNKNOWN: Final = "unknown"
NONE: Final = "zxx"
"""The code of a text without a language, as of numbers."""
LEAST_LETTERS: Final = 20
LOOKED_AT: Final = 2_000
"""Characters of a text that are looked at, so that a long text takes no longer."""
SURE: Final = 0.5
"""Least probability of a language that is told; mixed text and program code have less."""
_ASKED_IN: Final = """
ar bg cs da de el en es fa fi fr he hi hu id it ja ko nl no pl pt ro ru sv th tr uk vi zh
"""
ASKED_IN: Final = frozenset(_ASKED_IN.split())
"""Languages that a question may have: it is too short to tell more of them apart."""
SURE_OF_QUESTION: Final = 0.7
HARDLY: Final = 0.003
"""Probability of all known languages together below which a question is in another one. With both
limits none of 117 English questions was called foreign, and 118 of 122 others were."""

_loading = threading.Lock()
_loaded: "list[LanguageIdentifier]" = []


def is_loaded() -> bool:
    return bool(_loaded)


def language_of(text: str) -> str:
    """ISO 639-1 code of the language, or `unknown`."""
    text = text[:LOOKED_AT]
    if sum(map(str.isalpha, text)) < LEAST_LETTERS:
        return UNKNOWN
    language, probability = _identifier().classify(text)
    return str(language) if probability >= SURE and language != NONE else UNKNOWN


def foreign_language(question: str, known: Collection[str]) -> str | None:
    """The language of a question that has none of the known ones.

    Args:
        known: ISO 639-1 codes.

    Returns:
        ISO 639-1 code, or `unknown`: it is not clear which one; None: it may have a known language.
    """
    question = question[:LOOKED_AT]
    if not any(map(str.isalpha, question)):
        return None
    found = {str(one): float(p) for one, p in _identifier().rank(question) if one in ASKED_IN}
    best, sure = max(found, key=lambda one: found[one]), sum(found.values())
    is_best = found[best] >= SURE_OF_QUESTION * sure
    if is_best and best not in known:
        return best
    if sum(found.get(one, 0.0) for one in known) <= HARDLY * sure:
        return UNKNOWN
    return None


def load() -> None:
    """Load the model, so that no text waits for it."""
    _identifier()


def _identifier() -> "LanguageIdentifier":
    with _loading:
        if not _loaded:
            from py3langid.langid import MODEL_FILE, LanguageIdentifier

            _loaded.append(LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True))
        return _loaded[0]
