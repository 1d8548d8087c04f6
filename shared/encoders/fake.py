"""A fake model: deterministic, instant, of any dimension; like texts get like vectors.

`embedding.model = "fake-64"` is the fake of 64 dimensions. `"fake-64-250ms"` is the same model,
with the same vectors and fingerprint, on a simulated device: every call of it takes 250 ms without
using the processor, however few texts it has. `"fake-64-faults"` is the same model, too, and fails
as texts ask it to. It is for tests only: a text that holds one of these words, in any case and as
a word of its own, does to its process or call:

    faultkill        SIGKILL, as the out-of-memory killer does: no clean-up, no message
    faultsegv        SIGSEGV, as a bug in a library does
    faulthang        the device call never returns
    faultslow        the device call takes 0.5 s longer
    faultrefuse      ModelFailed for this text (permanent)
    faultbusy        EncoderBusy for this text, for ever (transient)
    faultbusyN       the same for the first N device calls with it alone, N from 1 to 9
    faultmemory      takes all memory that the process may have (its limit is lowered for the
                     moment), until MemoryError
    faultleak        64 MB that the process never frees
    faultnan         a vector that is not finite

The word must stand in the body, not in the path: context lines carry the headings, not the path.
"""

import hashlib
import os
import re
import resource
import signal
import time
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from shared.domain.errors import EncoderBusy, ModelFailed
from shared.domain.ids import short_digest
from shared.encoders.local.backend import Tokens, encodable

if TYPE_CHECKING:
    from shared.ports import Vector, Vectors

_WORD: Final = re.compile(r"\w+|[^\w\s]")


class FakeEncoder:
    """Implements `shared.ports.Encoder` and `shared.encoders.local.backend.Backend`.

    A vector is the sum of one random direction per word, so texts are as similar as the words they
    share.

    Args:
        dimensions: length of the vectors.
        device_s: seconds that every device call takes at least, to imitate a slow device. Making
            the vectors counts among them.
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

    async def encode(self, texts: Sequence[str]) -> "Vectors":
        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        return self.run(self.tokenize(texts))

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        return [[_token(word) for word in _WORD.findall(text.lower())] for text in texts]

    def run(self, batch: Sequence[Tokens]) -> "Vectors":
        ready_at = time.perf_counter() + self._device_s
        self.batches.append(len(batch))
        if any(self._poison in tokens for tokens in batch):
            raise RuntimeError("the fake model met its poison")
        self.texts_encoded += len(batch)
        vectors = np.stack([self._vector(tokens) for tokens in batch])
        time.sleep(max(0.0, ready_at - time.perf_counter()))
        return vectors

    def _vector(self, tokens: Tokens) -> "Vector":
        total = 0.01 * _direction(0, self.dimensions)  # so that the empty text has a vector too
        for token in tokens:
            total = total + _direction(token, self.dimensions)
        return (total / np.linalg.norm(total)).astype(np.float32)


class FaultyEncoder(FakeEncoder):
    """The fake that fails as texts ask it to; the words are in the docstring of this module."""

    def __init__(self, dimensions: int = 64) -> None:
        super().__init__(dimensions)
        self._busy: Counter[tuple[int, ...]] = Counter()
        self._leaked: list[bytes] = []

    def run(self, batch: Sequence[Tokens]) -> "Vectors":
        words = {word for tokens in batch for token in tokens if (word := _FAULTS.get(token))}
        if "faultkill" in words:
            os.kill(os.getpid(), signal.SIGKILL)
        if "faultsegv" in words:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "faultleak" in words:
            self._leaked.append(b"x" * _LEAK_BYTES)
        while "faulthang" in words:
            time.sleep(3600)
        if "faultslow" in words:
            time.sleep(0.5)
        if "faultmemory" in words:
            _take_all_memory()
        if "faultrefuse" in words:
            raise ModelFailed("the faulty fake was asked to refuse this text")
        self._be_busy(batch, words)
        vectors = super().run(batch)
        return np.full_like(vectors, np.nan) if "faultnan" in words else vectors

    def _be_busy(self, batch: Sequence[Tokens], words: set[str]) -> None:
        """Raise EncoderBusy as often as a text asks for; only calls with it alone are counted."""
        times = [int(word[9:] or 10**9) for word in words if word.startswith("faultbusy")]
        text = tuple(batch[0])
        if not times or (len(batch) == 1 and self._busy[text] >= max(times)):
            return
        self._busy[text] += len(batch) == 1
        raise EncoderBusy("the faulty fake was asked to be busy")


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
def _direction(token: int, dimensions: int) -> "Vector":
    return np.random.default_rng(token).standard_normal(dimensions).astype(np.float32)


def _take_all_memory() -> None:
    """Allocate up to a limit that is lowered for the moment, so that the machine is left alone."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    now_bytes = int(pages) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now_bytes + _MOST_MEMORY_BYTES, limits[1]))
    taken = []
    try:
        while True:
            taken.append(bytearray(_MOST_MEMORY_BYTES // 8))
    finally:
        taken.clear()
        resource.setrlimit(resource.RLIMIT_AS, limits)


_LEAK_BYTES: Final = 64 * 1024**2
_MOST_MEMORY_BYTES: Final = 128 * 1024**2
_FAULTS: Final = {
    _token(word): word
    for word in (
        "faultkill",
        "faultsegv",
        "faulthang",
        "faultslow",
        "faultrefuse",
        "faultmemory",
        "faultleak",
        "faultnan",
        "faultbusy",
        *(f"faultbusy{times}" for times in range(1, 10)),
    )
}
