"""A cluster of three Weaviate nodes with a copy of every row on each; one of them is killed."""

import asyncio
import contextlib
import uuid

import numpy as np
import pytest
import weaviate_server
from weaviate_cluster import WeaviateCluster
from weaviate_store import address, connected

from shared.domain.errors import StoreUnavailable
from shared.domain.ids import doc_key, row_id
from shared.ports import Probe, Row
from shared.stores.weaviate.store import WeaviateStore

DIMENSIONS = 16
SOON = {
    "MEMBERLIST_FAST_FAILURE_DETECTION": "true",
    "ASYNC_REPLICATION_FREQUENCY": "1s",
    "ASYNC_REPLICATION_PROPAGATION_DELAY": "1s",
}
"""A node that comes back gets what it missed in seconds, not in half a minute."""
WITHIN_S = 300.0


def rows(count: int, document: str) -> list[Row]:
    key = doc_key("notes", document)
    chunks = [f"{n:064}" for n in range(count)]
    vectors = np.random.default_rng(len(document)).normal(size=(count, DIMENSIONS))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return [
        Row(row_id(key, chunk, 1), key, "notes", document, 1, chunk, "", (), "a text", {}, vector)
        for chunk, vector in zip(chunks, vectors, strict=True)
    ]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    cluster = WeaviateCluster(weaviate_server.own_executable(), folder, **SOON)
    cluster.start()
    yield cluster
    cluster.stop()


async def opened(node, name, replicas=3):
    return await WeaviateStore.open(
        address(node.reached), name=name, dimensions=DIMENSIONS, replicas=replicas
    )


async def patiently(call):
    """As a message that is delivered again: while the nodes agree on a leader, calls fail."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            with contextlib.suppress(StoreUnavailable):
                return await call()
            await asyncio.sleep(0.2)


async def until_found(store, wanted):
    probes = [Probe(row.id, row.vector) for row in wanted]
    async with asyncio.timeout(WITHIN_S):
        while await patiently(lambda: store.unsearchable(probes)):
            await asyncio.sleep(0.05)


async def until_gone(store, row):
    async with asyncio.timeout(WITHIN_S):
        while await patiently(lambda: store.rows([row.id])):
            await asyncio.sleep(0.1)


async def until_agreed(stores):
    async with asyncio.timeout(WITHIN_S):
        while True:
            digests = [await patiently(store.digests) for store in stores]
            if digests[0] == digests[1] == digests[2]:
                return digests
            await asyncio.sleep(0.5)


async def test_what_one_node_took_is_found_at_each_and_a_lost_node_gets_what_it_missed(
    cluster, monkeypatch
):
    monkeypatch.setattr("shared.stores.weaviate.calls.INSERT_S", 5.0)
    name = f"Three{uuid.uuid4().hex[:12]}"
    first, missed = rows(20, "first.md"), rows(20, "missed.md")
    async with contextlib.AsyncExitStack() as stack:
        stores = []
        for node in cluster.nodes:
            stores.append(await patiently(lambda node=node: opened(node, name)))
            stack.push_async_callback(stores[-1].close)
        await patiently(lambda: stores[0].upsert(first))
        for store in stores:
            await until_found(store, first)

        cluster.nodes[2].kill()
        await patiently(lambda: stores[0].upsert(missed))
        await patiently(lambda: stores[1].delete([first[0].id]))
        for store in stores[:2]:
            await until_found(store, [*first[1:], *missed])
        left = await patiently(lambda: stores[1].ids({first[0].doc_key: 1}))
        await asyncio.to_thread(cluster.nodes[2].start)
        await until_found(stores[2], missed)
        await until_gone(stores[2], first[0])
        digests = await until_agreed(stores)

        assert left[first[0].doc_key] == {row.id for row in first[1:]}
        assert sum(digest.rows for digest in digests[2].values()) == 39


async def test_a_collection_has_the_copies_that_the_settings_ask_for(cluster):
    """And a node that returns is told what it missed; 1.39 does so without being asked."""
    name = f"Three{uuid.uuid4().hex[:12]}"
    store = await patiently(lambda: opened(cluster.nodes[0], name))
    await store.close()
    async with connected(cluster.nodes[1].reached) as client:
        config = (await client.collections.use(name).config.get()).replication_config

    assert (config.factor, config.async_enabled) == (3, True)


async def test_more_copies_than_there_are_nodes_are_waited_for(cluster):
    with pytest.raises(StoreUnavailable, match=r"fewer nodes than store\.weaviate\.replicas"):
        await opened(cluster.nodes[0], f"Five{uuid.uuid4().hex[:12]}", replicas=5)
