"""The exact search by vector: every row is compared by its code, a byte a number in memory.

The nearest by code are compared again by their own vectors.
"""

import importlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.domain.errors import ConfigurationError
from shared.ports import Vector, Vectors
from shared.stores.sqlite.held import Rows

AGAIN: Final = 2
AGAIN_LEAST: Final = 64
"""Rows by code that are compared by their own vectors: so many times those asked for, and at least
so many."""


def codes_of(vectors: Vectors) -> NDArray[np.int8]:
    """A byte for each number, the largest of a vector being 127. Shape (rows, dimensions).

    vectors: float32, of norm 1.
    """
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = np.rint(vectors * (np.float32(127) / largest))
    return np.asarray(np.nan_to_num(scaled, nan=0, posinf=0, neginf=0), np.int8)


def require_simsimd() -> None:
    """Load simsimd. Raises ConfigurationError: it is not installed."""
    try:
        importlib.import_module("simsimd")
    except ImportError:
        raise ConfigurationError(
            "the store sqlite needs simsimd. Fix: pip install 'instep[local]'"
        ) from None


def is_compared(rows: Rows, number: int, vector: Vector) -> bool:
    """Whether `nearest` compares the row by the code of this vector.

    vector: float32, shape (dimensions,). Norms differ by rounding, so numbers may by one.
    """
    places, _ = rows.places(np.array([number]))
    if not len(places) or not rows.scales[places[0]]:
        return False
    apart = rows.codes[places[0]].astype(np.int16) - codes_of(vector[np.newaxis])[0]
    return bool(np.abs(apart).max() <= 1)


def nearest(
    rows: Rows, vector: Vector, limit: int, among: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """The numbers of the rows whose codes are nearest, in any order, more than `limit`.

    Args:
        vector: float32, shape (dimensions,), norm 1.
        among: numbers of the rows that may be found, in order; None: all.
    """
    import simsimd

    ns, codes, scales = rows.ns, rows.codes, rows.scales
    if among is not None:
        kept, _ = rows.places(among)
        ns, codes, scales = ns[kept], codes[kept], scales[kept]
    if not len(ns):
        return ns
    asked = codes_of(vector[np.newaxis])
    products = np.asarray(simsimd.cdist(asked, codes, metric="dot"), np.float32)[0]
    scores = np.where(scales > 0, products * scales, -np.inf)
    most = max(AGAIN * limit, AGAIN_LEAST)
    if most < len(scores):
        best = np.argpartition(scores, -most)[-most:]
        ns, scores = ns[best], scores[best]
    return np.asarray(ns[np.isfinite(scores)])
