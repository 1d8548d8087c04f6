"""A vector cache in memory: for tests."""

from collections.abc import Collection, Mapping

from shared.ports import Vector


class MemoryCache:
    """Implements `shared.ports.VectorCache`; forgets nothing while the process lives."""

    def __init__(self) -> None:
        self._vectors: dict[str, Vector] = {}

    async def get_many(self, keys: Collection[str]) -> Mapping[str, Vector]:
        return {key: self._vectors[key] for key in keys if key in self._vectors}

    async def put_many(self, vectors: Mapping[str, Vector]) -> None:
        self._vectors |= {key: vector.astype("<f4") for key, vector in vectors.items()}
