"""How long a Weaviate server takes to index a new vector while others come in.

With its default settings a vector waits until none has come for a while, so steady small edits put
it off for seconds. One write at a time, as a person would try it, does not show that.
"""

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Final

import numpy as np

from shared.domain.errors import StoreUnavailable
from shared.ports import Filter, Row
from shared.stores.weaviate.calls import Collection
from shared.stores.weaviate.open import open_collection

if TYPE_CHECKING:
    from weaviate import WeaviateAsyncClient

SUFFIX: Final = "Probe"
WRITE_EVERY_S: Final = 0.02
GIVE_UP_S: Final = 3.0
DIMENSIONS: Final = 64


async def lag_s(client: "WeaviateAsyncClient", name: str) -> float:
    """Seconds, at most GIVE_UP_S, from writing a row beside steady writes to its being found.

    Args:
        name: of a collection; the rows go to one beside it, which is deleted afterwards.

    Raises:
        StoreUnavailable, ConfigurationError: the server does not take rows.
    """
    beside = f"{name}{SUFFIX}{uuid.uuid4().hex[:8]}"
    try:
        await open_collection(client, beside)
        return await _tried(Collection(client, beside))
    finally:
        await client.collections.delete(beside)


async def _tried(rows: Collection) -> float:
    wanted = _row(0)
    await _written(rows, wanted)
    since = time.monotonic()
    writing = asyncio.create_task(_write_on(rows))
    try:
        while (passed := time.monotonic() - since) < GIVE_UP_S:
            if any(one.distance < 0.001 for one in await rows.near(wanted.vector, 1, (), Filter())):
                return passed
        return GIVE_UP_S
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


async def _write_on(rows: Collection) -> None:
    number = 0
    while True:
        number += 1
        await _written(rows, _row(number))
        await asyncio.sleep(WRITE_EVERY_S)


async def _written(rows: Collection, row: Row) -> None:
    if refused := await rows.insert([row]):
        raise StoreUnavailable(f"Weaviate refuses a row: {next(iter(refused.values()))[:200]}")


def _row(number: int) -> Row:
    vector = np.random.default_rng(number).standard_normal(DIMENSIONS).astype(np.float32)
    return Row(
        id=str(uuid.uuid4()),
        doc_key="probe",
        source="probe",
        path="probe",
        born=1,
        chunk_key=str(number),
        title="",
        heading=(),
        text="probe",
        metadata={},
        vector=vector / np.linalg.norm(vector),
    )
