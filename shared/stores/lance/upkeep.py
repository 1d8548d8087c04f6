"""When a LanceDB table is compacted and indexed, and whether one that fails is broken. Pure.

Every commit adds a fragment, and every fragment adds about 0.1 ms to a read and to each vector of
a batch; a compaction writes all small fragments anew (0.2 s for 50 of them at 50,000 rows).
"""

from dataclasses import dataclass
from typing import Final

MANY_COMMITS: Final = 50
SOME_COMMITS: Final = 4
IDLE_S: Final = 1.0
OFTEN_S: Final = 60.0
SELDOM_S: Final = 600.0
GROWTH: Final = 4
INDEX_PREFIX: Final = "vector_at_"


@dataclass(frozen=True, slots=True)
class Wear:
    """What happened to the table since its last compaction."""

    commits: int
    idle_s: float
    """Seconds since the last commit."""
    since_s: float
    """Seconds since the last compaction, or since opening."""


def compaction_due(wear: Wear) -> bool:
    """Often under load, soon when there is time, and at last for the bytes of deleted rows."""
    if wear.commits >= MANY_COMMITS:
        return True
    if wear.commits >= SOME_COMMITS:
        return wear.idle_s >= IDLE_S or wear.since_s >= OFTEN_S
    return wear.commits > 0 and wear.since_s >= SELDOM_S


def index_name(rows: int) -> str:
    """The name remembers how many rows the partitions of the index were made for."""
    return f"{INDEX_PREFIX}{rows}"


def rows_at_build(name: str) -> int:
    """How many rows an index was made for; 0 for an index with a name of somebody else's."""
    digits = name.removeprefix(INDEX_PREFIX)
    return int(digits) if digits.isdecimal() and name.startswith(INDEX_PREFIX) else 0


def index_due(rows: int, built_for: int | None, threshold: int) -> bool:
    """Whether to make the vector index (`built_for` None: there is none) or to make it anew."""
    if built_for is None:
        return rows > threshold
    return rows >= GROWTH * max(1, built_for)


def passing(error: str) -> bool:
    """Whether a failure to read lies in the machine, not in the files: try again, move nothing."""
    signs = ("permission", "too many open files", "no space", "os error", "interrupted", "timeout")
    return any(sign in error.lower() for sign in signs)
