"""Buckets on the real server, made as they are in production."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.bus.provision import bucket_config, ensure_stream, object_store_config
from shared.topology import BODIES, Bucket

MakeBucket = Callable[[Bucket], Awaitable[None]]


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
