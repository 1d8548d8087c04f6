"""When, and by what, a revision is looked for in the store. Pure."""

from collections.abc import Mapping, Sequence

from shared.domain.ordering import RowRef
from shared.ports import Probe, Row

FIRST_LOOK_S = 0.02


def probes(doc_key: str, wanted: Sequence[RowRef], in_hand: Mapping[RowRef, Row]) -> list[Probe]:
    """All rows of the revision must be there; one that we hold the vector of is asked for by it.

    Rows carried from an older revision were found by their own vector when they were new.
    """
    sample = next((ref for ref in wanted if ref in in_hand), None)
    return [
        Probe(ref.id(doc_key), in_hand[ref].vector if ref == sample else None) for ref in wanted
    ]


def next_look_s(age_s: float, longest_s: float) -> float:
    """Seconds until the next look at the store: half the age so far, 20 ms at first."""
    return min(longest_s, max(FIRST_LOOK_S, age_s / 2))
