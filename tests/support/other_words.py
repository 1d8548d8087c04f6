"""The next version of words: every word begins with another letter, so none is as it was before."""

import pytest

from shared.domain.text import words
from shared.stores.lance import words as lance_words


def make_words_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process make words as a version after this one."""
    before = words._stem
    monkeypatch.setattr(words, "VERSION", words.VERSION + 1)
    monkeypatch.setattr(words, "_stem", lambda word: f"x{before(word)}")
    monkeypatch.setattr(words, "_remembered", words._cut)
    monkeypatch.setattr(lance_words, "INDEX", f"{lance_words.NAMED}{words.VERSION}")
