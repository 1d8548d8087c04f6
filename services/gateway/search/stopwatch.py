"""Where the time of an answer goes, by the parts that it is told by."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Stopwatch:
    """Sums the time of each part, waits included; parts that run side by side overlap."""

    def __init__(self) -> None:
        self._spent: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._spent[name] += time.perf_counter() - started

    def told(self) -> Mapping[str, float]:
        """Milliseconds by part."""
        return {name: round(1000 * spent, 2) for name, spent in self._spent.items()}
