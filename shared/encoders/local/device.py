"""The device that runs the batches of an encoder, and its counters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.encoders.local.backend import Tokens
from shared.ports import Vectors


class Lost(Exception):
    """The process of the model ended, or had to be ended, before it answered: a text may have
    caused it. The message is fit for people."""


class Absent(Exception):
    """No model is loaded, and none can be started; no text has caused it. The message is fit for
    people."""


@dataclass(slots=True)
class Counters:
    """Counters of the device since the start."""

    busy_s: float = 0.0
    batches: int = 0
    texts: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    """Tokens computed, padding included; 1 - tokens / padded_tokens was wasted."""
    lost: int = 0
    """Calls that ended without an answer: each cost the model's process."""


class Device(Protocol):
    """`shared.encoders.local.backend.Backend` for an event loop."""

    fingerprint: str
    dimensions: int
    ahead: int

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Called from one thread at a time."""
        ...

    async def run(self, batch: Sequence[Tokens], *, within_s: float) -> tuple[Vectors, float]:
        """Vectors of one call, and the seconds that it took.

        Args:
            within_s: most seconds of the call, not counting those before it begins; 0: any.

        Raises:
            Lost: no answer; the next call finds the device ready again.
            Absent: the device is not available now.
            EncoderBusy: the device has no memory for the batch.
            Exception: any error of the backend.
        """
        ...

    async def close(self) -> None: ...
