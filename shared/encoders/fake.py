"""A model that is none: deterministic, instant, of any dimension; like texts get like vectors."""

import hashlib
import re
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from shared.encoders.backend import Tokens
from shared.encoders.tokens import encodable
from shared.identity import short_digest
from shared.ports import Vector, Vectors

_WORD: Final = re.compile(r"\w+|[^\w\s]")


class FakeEncoder:
    """Implements `shared.ports.Encoder` and `shared.encoders.backend.Backend`.

    A vector is the sum of one random direction per word, so texts are as similar as the words they
    share.

    Args:
        dimensions: length of the vectors.
        device_s: seconds that every device call takes, to imitate a slow device.
        poison: a text holding this word cannot be encoded; `""` for none.
    """

    ahead = 0

    def __init__(self, dimensions: int = 384, *, device_s: float = 0.0, poison: str = "") -> None:
        self.dimensions = dimensions
        self.fingerprint = fingerprint(dimensions)
        self.texts_encoded = 0
        self.batches: list[int] = []
        """Texts of every device call, in order."""
        self._device_s = device_s
        self._poison = _token(poison.lower()) if poison else None

    async def encode(self, texts: Sequence[str], *, alone: bool = False) -> Vectors:
        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        if alone:
            return np.concatenate([self.run([tokens]) for tokens in self.tokenize(texts)])
        return self.run(self.tokenize(texts))

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        return [[_token(word) for word in _WORD.findall(text.lower())] for text in texts]

    def run(self, batch: Sequence[Tokens]) -> Vectors:
        if self._device_s:
            time.sleep(self._device_s)
        self.batches.append(len(batch))
        if any(self._poison in tokens for tokens in batch):
            raise RuntimeError("the fake model met its poison")
        self.texts_encoded += len(batch)
        return np.stack([self._vector(tokens) for tokens in batch])

    def _vector(self, tokens: Tokens) -> Vector:
        total = 0.01 * _direction(0, self.dimensions)  # so that the empty text has a vector too
        for token in tokens:
            total = total + _direction(token, self.dimensions)
        return (total / np.linalg.norm(total)).astype(np.float32)


class FakeTokenizer:
    """Implements `shared.ports.TokenCounter`: a word or a punctuation mark is a token."""

    def __init__(self, window: int = 254) -> None:
        self.window = window

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        return [match.span() for match in _WORD.finditer(text)]

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        return [len(_WORD.findall(text)) for text in texts]


def fingerprint(dimensions: int) -> str:
    return short_digest(f"fake {dimensions}", 26)


def _token(word: str) -> int:
    return int.from_bytes(hashlib.sha256(encodable(word).encode()).digest()[:6], "big")


@lru_cache(maxsize=10_000)
def _direction(token: int, dimensions: int) -> Vector:
    return np.random.default_rng(token).standard_normal(dimensions).astype(np.float32)
