"""What a Weaviate server answers, in our words; and how questions are split. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.domain.errors import StoreUnavailable
from shared.ports import Hit, Vector
from shared.stores.weaviate import rows as weaviate_rows
from shared.stores.weaviate.errors import fault_of, sorted_error


@dataclass(frozen=True, slots=True)
class Found:
    """An object of an answer. distance: cosine distance, of vector searches."""

    id: str
    properties: Mapping[str, Any]
    vector: Sequence[float] = ()
    distance: float = 2.0
    score: float = 0.0


def found_of(one: Any) -> Found:
    vectors: Any = one.vector or {}
    distance = one.metadata.distance
    return Found(
        str(one.uuid),
        one.properties,
        vectors.get("default", ()),
        2.0 if distance is None else distance,
        one.metadata.score or 0.0,
    )


def any_vector(dimensions: int) -> Vector:
    """A unit vector, for questions whose order does not matter. float32, shape (dimensions,)."""
    return np.full(dimensions, dimensions**-0.5, np.float32)


def moved(component: float) -> float:
    """The next float32 behind it."""
    return float(np.nextafter(np.float32(component), np.float32(2)))


def rows_of(found: Sequence[Found]) -> list[Hit]:
    return [weaviate_rows.to_hit(one.properties, one.score) for one in found]


def halves(
    values: Sequence[str], slots: Sequence[int] | None
) -> list[tuple[Sequence[str], Sequence[int] | None]]:
    """Two questions that together ask for the same: fewer values, then fewer slots. Pure.

    Raises:
        StoreUnavailable: one document has more rows than can be asked for.
    """
    if len(values) > 1:
        half = len(values) // 2
        return [(values[:half], slots), (values[half:], slots)]
    slots = range(weaviate_rows.SLOTS) if slots is None else slots
    if len(slots) < 2:
        raise StoreUnavailable("a document has more rows than Weaviate can list")
    half = len(slots) // 2
    return [(values, slots[:half]), (values, slots[half:])]


def refused(messages: Mapping[str, str]) -> frozenset[str]:
    """The ids of rows that the server refuses for what they hold. Pure.

    Raises:
        StoreUnavailable, ConfigurationError: others were refused for another reason.
    """
    bad = frozenset(key for key, text in messages.items() if fault_of("object", text) == "object")
    for key, text in messages.items():
        if key not in bad:
            raise sorted_error("object", text)
    return bad
