"""The half of an encoder that knows the device: synchronous, one thread at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # the process that runs the model needs no pydantic
    from shared.ports import Vectors

Tokens = Sequence[int]
"""Token ids of one text as the model reads it: special tokens included, cut to its window."""


class Backend(Protocol):
    """Turns texts into token ids, and batches of token ids into vectors.

    `tokenize` and `run` may be called from two different threads, never from three.
    """

    fingerprint: str
    dimensions: int
    ahead: int
    """Batches worth having ready behind the running one: 0 on a CPU, more where a call is short."""

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text. Any string is accepted, lone surrogates too."""
        ...

    def run(self, batch: Sequence[Tokens]) -> "Vectors":
        """Vectors of one device call.

        Returns:
            float32, shape (len(batch), dimensions), each row of L2 norm 1 within 1e-4.

        Raises:
            EncoderBusy: the device has no memory for the batch.
            ModelFailed: the device or the model failed in another way.
        """
        ...


def pack(
    batch: Sequence[Tokens], *, multiple: int = 8, pad: int = 0
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Token ids and attention mask, both int32 of shape (len(batch), width).

    `width` is the longest text rounded up to `multiple`: few widths mean few compiled kernels.
    """
    width = -(-max(map(len, batch)) // multiple) * multiple
    ids = np.full((len(batch), width), pad, np.int32)
    mask = np.zeros((len(batch), width), np.int32)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return ids, mask


def encodable(text: str) -> str:
    """The text with lone surrogates replaced, which no tokenizer takes; equally long."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
    return text
