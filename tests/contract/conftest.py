"""Buckets on the real server, made as they are in production, and really gone afterwards."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.bus.admin.configs import bucket_config, object_store_config
from shared.bus.admin.provision import ensure_stream
from shared.domain.topology import BODIES, Bucket

DeleteStream = Callable[[str], Awaitable[None]]
MakeBucket = Callable[[Bucket], Awaitable[None]]


@pytest.fixture
def delete_stream(js: Any, nats_server: Any, eventually: Any) -> DeleteStream:
    return deleting(js, nats_server, eventually)


def deleting(js: Any, server: Any, eventually: Any) -> DeleteStream:
    """Delete a stream and wait until its folder is gone.

    nats-server 2.15.1 renames the folder S to .S and removes that later. Deleting S again before
    .S is gone leaves S behind, and the next stream of that name starts with the old messages.
    """

    async def delete(name: str) -> None:
        await js.delete_stream(name)
        folders = server.streams / name, server.streams / f".{name}"
        await eventually(lambda: not any(folder.exists() for folder in folders))

    return delete


@pytest.fixture
def make_bucket(js: Any) -> MakeBucket:
    async def make(bucket: Bucket) -> None:
        await ensure_stream(js, bucket_config(bucket))

    return make


@pytest.fixture
def make_bodies(js: Any) -> Callable[[], Awaitable[None]]:
    async def make() -> None:
        await ensure_stream(js, object_store_config(BODIES))

    return make
