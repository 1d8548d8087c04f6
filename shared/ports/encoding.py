"""The ports of a model, its tokenizer and the cache of its vectors."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Vectors = NDArray[np.float32]
SLACK: Final = 1e-3
"""Most that the norm of a unit vector may differ from 1."""


class TokenCounter(Protocol):
    """The model's own tokenizer, for cutting text."""

    window: int
    """Tokens that the model reads of a text, special tokens not counted."""

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Start and end (characters) of every token of `text`; no special tokens, no truncation."""
        ...

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        """Number of tokens of each text, special tokens not counted."""
        ...


class Encoder(Protocol):
    """Turns text into unit vectors."""

    fingerprint: str
    """Digest of everything that decides a vector; never the device, the path or the batch size."""
    dimensions: int

    async def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode `texts`, keeping their order; text beyond the model's window is cut.

        Args:
            texts: any number of strings.

        Returns:
            float32, shape (len(texts), dimensions), each row of L2 norm 1 within 1e-4.

        Raises:
            EncoderBusy: nothing was encoded; later may work.
            ModelFailed: a text that the model cannot encode.
        """
        ...


class VectorCache(Protocol):
    """Vectors by content and fingerprint (`domain.ids.cache_key`); may forget at any time."""

    async def get_many(self, keys: Collection[str]) -> Mapping[str, Vector]: ...
    async def put_many(self, vectors: Mapping[str, Vector]) -> None: ...


def is_made(vector: Vector, dimensions: int) -> bool:
    """Whether an encoder can have made it: of this length, and of norm 1."""
    norm = float(np.linalg.norm(vector.astype(np.float64)))  # in which no square overflows
    return vector.shape == (dimensions,) and abs(norm - 1) < SLACK
