"""What Lance takes of a process that lives long: threads and caches stay within limits."""

import os
import subprocess
import sys

import lancedb
import numpy as np
import pytest

from shared.ports import Row
from shared.stores.lance import limits as lance_limits
from shared.stores.lance.store import LanceStore

DIMENSIONS = 16
COMMITS = 60

BURST = """
import asyncio, sys
from pathlib import Path
import numpy as np
from shared.ports import Filter, Row
from shared.stores.lance.store import LanceStore

def threads():
    names = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
    return sum(name.startswith("lancedb-tokio") for name in names)

async def main(folder):
    store = await LanceStore.open(Path(folder), table="chunks", dimensions=16)
    import pyarrow
    vector = np.eye(16, dtype=np.float32)
    for n in range(10):
        await store.upsert(
            [Row(f"row-{n}", "doc", "notes", "a.md", 1, "c", "", (), f"word{n}", {}, vector[n])]
        )
    everywhere = Filter()
    await asyncio.gather(
        *(store.search(vector[n % 16], limit=3, where=everywhere) for n in range(150)),
        *(store.search_text(f"word{n}", limit=3, where=everywhere) for n in range(150)),
        *(store.rows([f"row-{n}"]) for n in range(150)),
    )
    print(threads())
    print(pyarrow.default_memory_pool().backend_name)
    await store.close()

asyncio.run(main(sys.argv[1]))
"""


def row(n: int) -> Row:
    vector = np.eye(DIMENSIONS, dtype=np.float32)[n % DIMENSIONS]
    return Row(f"row-{n}", "doc", "notes", "a.md", 1, "c", "", (), f"word{n}", {}, vector)


IMPORT = """
import asyncio, sys
from pathlib import Path
from shared.stores.lance.store import LanceStore

async def main(folder):
    store = await LanceStore.open(folder, table="chunks", dimensions=16)
    await store.close()

finders = list(sys.meta_path)
asyncio.run(main(Path(sys.argv[1])))
import lancedb, lance_namespace
print(lance_namespace.DescribeTableRequest.__module__, sys.meta_path == finders)
assert lancedb.db.override.__module__ == "shared.stores.lance.limits"
from lance_namespace_urllib3_client.models import DescribeTableRequest
import overrides
print(DescribeTableRequest(id=["a"]).id, overrides.__file__ is not None)
"""


def test_a_client_that_is_not_used_is_not_imported_and_can_be_by_others(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, tmp_path], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines() == ["shared.stores.lance.limits True", "['a'] True"]


@pytest.mark.skipif(sys.platform != "linux", reason="it counts threads in /proc")
def test_a_burst_of_queries_takes_few_threads(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", BURST, tmp_path], capture_output=True, text=True, check=True
    )
    at_once = lance_limits.queries_at_once(os.cpu_count())
    workers = os.cpu_count() or 1
    threads, allocator = done.stdout.split()

    assert int(threads) <= workers + 4 * at_once * lance_limits.IO_THREADS  # 30 were seen
    assert allocator == "system"


async def test_what_is_remembered_of_old_versions_is_bounded(tmp_path, monkeypatch):
    made = []

    def session(index_bytes, metadata_bytes):
        made.append(new(index_bytes, metadata_bytes))
        return made[-1]

    new = lancedb.Session
    monkeypatch.setattr(lancedb, "Session", session)
    monkeypatch.setattr(lance_limits, "METADATA_CACHE_BYTES", 200_000)
    store = await LanceStore.open(tmp_path, table="chunks", dimensions=DIMENSIONS)
    for n in range(COMMITS):
        await store.upsert([row(n)])
        await store.rows([f"row-{n}"])
    found = await store.rows([f"row-{n}" for n in range(COMMITS)])
    held = made[-1].size_bytes
    await store.close()

    assert len(found) == COMMITS
    assert held <= 400_000
