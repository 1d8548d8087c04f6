"""Buckets on the real server, for the adapters that need them."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats.js.api import DiscardPolicy, StreamConfig

from shared.topology import MB, Bucket

MakeBucket = Callable[[Bucket], Awaitable[None]]


@pytest.fixture
def make_bucket(js: Any) -> MakeBucket:
    """Make a KV bucket as `topology` says, but small."""

    async def make(bucket: Bucket) -> None:
        await js.add_stream(
            StreamConfig(
                name=f"KV_{bucket.name}",
                subjects=[f"$KV.{bucket.name}.>"],
                max_msgs_per_subject=1,
                max_bytes=64 * MB,
                discard=DiscardPolicy.NEW if bucket.discard == "new" else DiscardPolicy.OLD,
                allow_direct=bucket.direct,
                allow_rollup_hdrs=True,
                deny_delete=True,
                first_seq=time.time_ns() // 1000 if bucket.clock_sequence else None,
            )
        )

    return make
