"""JetStream configurations of the streams, buckets and consumers of `shared.domain.topology`.

Pure; `shared.bus.admin.provision` compares these with the server's.
"""

from collections.abc import Mapping
from typing import Any, Final

from shared.bus.admin.clock_sequence import clock
from shared.domain.topology import GB, Bucket, Stage, Stream

Config = dict[str, Any]

NS: Final = 10**9
SAFETY_FACTOR: Final = 40
"""The server's own limit of deliveries, far above ours: it stops silently, and it also counts
deliveries that no handler opened."""
BODIES_BYTES: Final = 6 * GB
KV_DUPLICATES_S: Final = 120


def stream_config(stream: Stream) -> Config:
    """The configuration of a stream."""
    return {
        "name": stream.name,
        "subjects": list(stream.subjects),
        "retention": stream.retention,
        "storage": "file",
        "discard": stream.discard,
        "max_bytes": stream.max_bytes,
        "max_age": stream.max_age_s * NS,
        "max_msgs_per_subject": stream.max_msgs_per_subject,
        "duplicate_window": stream.duplicate_window_s * NS,
        "compression": "s2" if stream.compression else "none",
        **_first_sequence(stream.clock_sequence),
    }


def bucket_config(bucket: Bucket) -> Config:
    """The stream of a KV bucket, as NATS clients expect it, with one value per key."""
    age_s = bucket.max_age_s
    return {
        "name": f"KV_{bucket.name}",
        "subjects": [f"$KV.{bucket.name}.>"],
        "retention": "limits",
        "storage": "file",
        "discard": bucket.discard,
        "max_bytes": bucket.max_bytes,
        "max_age": age_s * NS,
        "max_msgs_per_subject": 1,
        "duplicate_window": min(age_s or KV_DUPLICATES_S, KV_DUPLICATES_S) * NS,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_direct": bucket.direct,
        **({"persist_mode": "async"} if bucket.lossy else {}),
        **_first_sequence(bucket.clock_sequence),
    }


def with_copies(config: Config, replicas: int) -> Config:
    """The same stream in a cluster; a server replicates only what it writes before it answers."""
    if replicas == 1:
        return config
    written = {name: value for name, value in config.items() if name != "persist_mode"}
    return {**written, "num_replicas": replicas}


def object_store_config(name: str) -> Config:
    """The stream of an object store, as NATS clients expect it."""
    return {
        "name": f"OBJ_{name}",
        "subjects": [f"$O.{name}.C.>", f"$O.{name}.M.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_bytes": BODIES_BYTES,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
    }


def consumer_config(stage: Stage[Any]) -> Config:
    """The configuration of a stage's consumer. No `backoff`: it would replace `ack_wait`."""
    one = len(stage.subjects) == 1
    filters = {"filter_subject": stage.subjects[0]} if one else {}
    return {
        "durable_name": stage.name,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "replay_policy": "instant",
        "ack_wait": int(stage.ack_wait_s * NS),
        "max_deliver": stage.attempts * SAFETY_FACTOR if stage.attempts else -1,
        "max_ack_pending": stage.prefetch * stage.replicas * 2,
        **(filters or {"filter_subjects": list(stage.subjects)}),
    }


def difference(have: Mapping[str, Any], want: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Fields of `want` that differ in `have`; the server leaves out zero and false."""
    return {
        name: (have.get(name), value)
        for name, value in want.items()
        if name != "first_seq" and (have.get(name) or None) != (value or None)
    }


def _first_sequence(by_clock: bool) -> Config:
    """Microseconds since 1970: rises with every new stream and stays below 2**53 until 2255."""
    return {"first_seq": clock()} if by_clock else {}
