"""The language of a text, by its statistics (py3langid).

The model takes 73 MB and 0.9 s to load, so the first text that asks loads it.
"""

import threading
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


def _identifier() -> "LanguageIdentifier":
    with _loading:
        if not _loaded:
            from py3langid.langid import MODEL_FILE, LanguageIdentifier

            _loaded.append(LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True))
        return _loaded[0]
