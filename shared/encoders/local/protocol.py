"""The protocol between an encoder and the process that runs its model. Pure.

Frames (`shared.sandbox.frames`), never pickle. A batch of 1,024 tokens is 8 KB, its vectors are
98 KB: through a pipe that takes 0.1 ms, where the model takes 50 ms or more.

    greeting   {"fingerprint", "dimensions", "ahead"}, or {"error": [type, text]}
    question   int64: texts, tokens of each text, then all tokens
    answer     "v", float64 seconds, then the vectors as float32; or "e", then [type, text] as JSON
"""

import json
import struct
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np

from shared.domain.errors import (
    GARBAGE,
    ConfigurationError,
    EncoderBusy,
    ModelFailed,
    ModelMismatch,
)
from shared.encoders.local.backend import Tokens
from shared.sandbox.frames import Garbled, broke

if TYPE_CHECKING:
    from shared.ports import Vectors

MAX_GREETING_BYTES: Final = 16 * 1024
_HEAD: Final = struct.Struct("<cd")
_OURS: Final = {
    error.__name__: error for error in (ConfigurationError, EncoderBusy, ModelFailed, ModelMismatch)
}


@dataclass(frozen=True, slots=True)
class Greeting:
    """The description of the model."""

    fingerprint: str
    dimensions: int
    ahead: int

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def greeted(frame: bytes) -> Greeting:
    """Raises Garbled, or the error of the loading."""
    try:
        told = json.loads(frame)
        if "error" in told:
            kind, text = told["error"]
            raise _error(str(kind), str(text))
        return Greeting(str(told["fingerprint"]), int(told["dimensions"]), int(told["ahead"]))
    except GARBAGE as error:
        raise Garbled("a greeting of another form") from error


def failed_to_load(error: Exception) -> bytes:
    return json.dumps({"error": _told(error)}).encode()


def question(batch: Sequence[Tokens]) -> bytes:
    return array("q", chain((len(batch),), map(len, batch), *batch)).tobytes()


def asked(frame: bytes) -> list[Tokens]:
    """The batch of a question."""
    numbers = array("q", frame)
    texts = numbers[0]
    at, batch = 1 + texts, list[Tokens]()
    for length in numbers[1 : 1 + texts]:
        batch.append(numbers[at : at + length].tolist())
        at += length
    return batch


def answer(vectors: "Vectors", seconds: float) -> bytes:
    return _HEAD.pack(b"v", seconds) + vectors.tobytes()


def failure(error: Exception) -> bytes:
    return _HEAD.pack(b"e", 0.0) + json.dumps(_told(error)).encode()


def most_bytes(texts: int, dimensions: int) -> int:
    """Of an answer; the parent does not wait for a larger one."""
    return max(MAX_GREETING_BYTES, _HEAD.size + 4 * texts * dimensions)


def answered(frame: bytes, texts: int, dimensions: int) -> tuple["Vectors", float]:
    """Vectors of shape (texts, dimensions), and seconds. Raises Garbled, or the error of `run`."""
    if len(frame) < _HEAD.size:
        raise Garbled("an answer of another form")
    kind, seconds = _HEAD.unpack_from(frame)
    if kind == b"v" and len(frame) == _HEAD.size + 4 * texts * dimensions:
        vectors = np.frombuffer(frame, np.float32, offset=_HEAD.size)
        return vectors.reshape(texts, dimensions), float(seconds)
    try:
        name, text = json.loads(frame[_HEAD.size :])
    except GARBAGE as error:
        raise Garbled("an answer of another form") from error
    raise _error(str(name), str(text))


def _told(error: Exception) -> tuple[str, str]:
    """Our own errors as they are; of others only the type, for a text may quote a document."""
    if type(error).__name__ in _OURS:
        return type(error).__name__, str(error)
    if isinstance(error, MemoryError):
        return EncoderBusy.__name__, "no memory for a batch"
    return ModelFailed.__name__, broke(error)


def _error(name: str, text: str) -> Exception:
    return _OURS.get(name, ModelFailed)(text)
