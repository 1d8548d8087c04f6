"""int8 weights from the float32 ones and a small calibration file. Pure but for reading that file.

Static quantisation with SmoothQuant (Xiao et al., 2022): before a linear layer each channel of the
activation is multiplied by a calibrated number, and the weights are divided by it, so that a few
large channels do not take all 256 steps. MiniLM has one or two hidden neurons in each of its first
four layers that outgrow all others tenfold; they stay in float32 (as in LLM.int8(), Dettmers et
al., 2022), which removes more than half of the error. `bench/make_int8.py` makes the file.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["qkv", "out", "up", "down"]
Place = tuple[int, Kind]
"""Layer and which of its linear layers."""

PLACES: Final[Mapping[Kind, tuple[str, ...]]] = {
    "qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "out": ("attention.output.dense",),
    "up": ("intermediate.dense",),
    "down": ("output.dense",),
}
_FILE: Final = "minilm_int8.npz"
_LARGEST: Final = 127


@dataclass(frozen=True, slots=True)
class Calibration:
    """Measurements of the float32 model on sample texts, for one place.

    smooth: float32, shape (inputs,): the factor of each channel of the activation; 0 for a channel
    that stays in float32.
    low, high: range of the smoothed activation that 256 steps cover; 0 is one of the steps.
    """

    smooth: NDArray[np.float32]
    low: np.float32
    high: np.float32


@dataclass(frozen=True, slots=True)
class Quantised:
    """A linear layer for the graph: weights = `weight` x `steps`, for the smoothed activation.

    weight: int8, shape (outputs, inputs); steps: float32, shape (outputs,).
    exact: int64, the channels that stay in float32; their columns of `weight` are 0.
    """

    smooth: NDArray[np.float32]
    low: np.float32
    high: np.float32
    weight: NDArray[np.int8]
    steps: NDArray[np.float32]
    exact: NDArray[np.int64]


def quantise(weight: NDArray[np.float32], calibration: Calibration) -> Quantised:
    """Round the weights to int8, one step size for each output.

    The same bits everywhere: only divisions and rounding of float32, no sums.
    """
    exact = np.flatnonzero(calibration.smooth == 0)
    divided = weight / np.where(calibration.smooth == 0, np.float32(1), calibration.smooth)
    divided[:, exact] = 0
    steps = np.maximum(np.abs(divided).max(axis=1), np.float32(1e-12)) / np.float32(_LARGEST)
    rounded = np.clip(np.rint(divided / steps[:, None]), -_LARGEST, _LARGEST).astype(np.int8)
    return Quantised(calibration.smooth, calibration.low, calibration.high, rounded, steps, exact)


def grid(low: float, high: float) -> tuple[np.float32, np.float32]:
    """The range widened to hold 0, and moved by less than a step so that 0 is exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / 255
    zero = round(-low / step)
    return np.float32(-zero * step), np.float32((255 - zero) * step)


def dump(calibrations: Mapping[Place, Calibration]) -> bytes:
    """The calibration file; multipliers are kept as float16."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for (layer, kind), found in sorted(calibrations.items()):
        arrays[f"{layer}.{kind}.smooth"] = found.smooth.astype(np.float16)
        arrays[f"{layer}.{kind}.range"] = np.array([found.low, found.high], np.float32)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # the stub has no kwargs
    return buffer.getvalue()


def load(data: bytes) -> dict[Place, Calibration]:
    """The inverse of `dump`."""
    found: dict[Place, Calibration] = {}
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        layers = range(len(arrays.files) // (2 * len(PLACES)))
        for layer in layers:
            for kind in PLACES:
                low, high = arrays[f"{layer}.{kind}.range"]
                smooth = arrays[f"{layer}.{kind}.smooth"].astype(np.float32)
                found[layer, kind] = Calibration(smooth, low, high)
    return found


@cache
def packaged() -> bytes:
    """The calibration file of the packaged model."""
    return files("shared.encoders.local.minilm").joinpath(_FILE).read_bytes()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
