"""A table that is opened anew now and then, so that no file of an old version stays open."""

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest

from shared.ports import Filter, Row
from shared.stores.lance import store as lance
from shared.stores.lance.store import LanceStore

DIMENSIONS = 16
ROUNDS = 6


def row(n: int) -> Row:
    vector = np.eye(DIMENSIONS, dtype=np.float32)[n % DIMENSIONS]
    text = " ".join(f"word{n * m % 4999}" for m in range(1, 90))
    return Row(f"row-{n}", "doc", "notes", "a.md", 1, "c", "", (), text, {}, vector)


def open_indexes(folder: Path) -> int:
    """Files of indexes in the folder that this process has open."""
    names = []
    for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            names.append(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
        except OSError:  # that of the listing itself
            continue
    return sum(name.startswith(str(folder)) and "_indices" in name for name in names)


@pytest.fixture
async def store(tmp_path, monkeypatch):
    monkeypatch.setattr(lance, "RENEW_EVERY", 2)
    opened = await LanceStore.open(tmp_path, table="chunks", dimensions=DIMENSIONS)
    yield opened
    await opened.close()


async def test_no_index_of_an_older_version_stays_open(store, tmp_path, eventually):
    most = 0
    await store.upsert([row(n) for n in range(1_000, 2_500)])
    for n in range(4 * ROUNDS):
        await store.upsert([row(n)])
        await store.search_text(f"word{n}", limit=1, where=Filter())
        if n % 2:
            most = max(most, open_indexes(tmp_path))
            await store.compact()

    await eventually(lambda: open_indexes(tmp_path) == 0)  # threads of the library close them

    assert most > 0


async def test_readers_and_writers_go_on_meanwhile(store):
    async def write() -> None:
        for n in range(ROUNDS):
            await store.upsert([row(n)])

    async def read() -> None:
        for _ in range(3 * ROUNDS):
            await store.search(row(0).vector, limit=3, where=Filter())
            await store.count()

    async def compact() -> None:
        for _ in range(ROUNDS):
            await store.compact()

    await asyncio.gather(write(), read(), compact())
    found = await store.rows([f"row-{n}" for n in range(ROUNDS)])

    assert set(found) == {f"row-{n}" for n in range(ROUNDS)}
