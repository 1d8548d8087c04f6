"""Make JetStream look like `shared.topology` says; the only code that creates anything there.

Every start compares. Changes start from the server's own configuration, as raw JSON: fields that
this version does not know, or that an operator set (replicas, placement), stay as they are.
"""

import json
import time
from collections.abc import Mapping
from typing import Any, Final

from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js import JetStreamContext

from shared.bus.deadletters import MOVER, RECORDER
from shared.errors import BusUnavailable, ConfigurationError
from shared.topology import (
    BODIES,
    BUCKETS,
    GB,
    STREAMS,
    Bucket,
    Stage,
    Stream,
    ledger_bucket,
    stages,
)

Config = dict[str, Any]

TIMEOUT_S: Final = 5.0
NS: Final = 10**9
NOT_FOUND: Final = 404
NO_STORAGE: Final = (10047, 10028)
STREAM_EXISTS: Final = 10058
FIXED: Final = ("retention", "storage", "deliver_policy", "ack_policy", "replay_policy")
"""Fields whose change would need the stream or consumer made anew."""
SAFETY_FACTOR: Final = 40
"""The server's own limit of deliveries, far above ours: it stops silently, and it also counts
deliveries that nobody opened."""
BODIES_BYTES: Final = 6 * GB
KV_DUPLICATES_S: Final = 120


async def provision(js: JetStreamContext, *, generation: str, patience_s: float) -> list[str]:
    """Create or correct every stream, bucket and durable consumer.

    Returns:
        What was done, one line each; nothing the second time.

    Raises:
        ConfigurationError: something exists that cannot be changed into what is needed.
        BusUnavailable: the server does not answer.
    """
    done: list[str] = []
    wanted = [stream_config(stream) for stream in STREAMS]
    wanted += [bucket_config(bucket) for bucket in (*BUCKETS, ledger_bucket(generation))]
    wanted.append(object_store_config(BODIES))
    for config in wanted:
        done += await ensure_stream(js, config)
    for stage in (*stages(generation, patience_s), RECORDER, MOVER):
        done += await ensure_consumer(js, stage)
    return done


def stream_config(stream: Stream) -> Config:
    """What JetStream is told about a stream."""
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
    """What JetStream is told about a stage. No `backoff`: it would replace `ack_wait`."""
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
    """Fields of `want` that `have` has otherwise; the server leaves out what is zero or false."""
    return {
        name: (have.get(name), value)
        for name, value in want.items()
        if name != "first_seq" and (have.get(name) or None) != (value or None)
    }


def _first_sequence(by_clock: bool) -> Config:
    """Microseconds since 1970: rises with every new stream and stays below 2**53 until 2255."""
    return {"first_seq": time.time_ns() // 1000} if by_clock else {}


class _MadeMeanwhile(ConfigurationError):
    """There is a stream of this name, with other settings."""


async def ensure_stream(js: JetStreamContext, want: Config) -> list[str]:
    """Create or correct one stream; what was done. Raises as `provision` does."""
    name = want["name"]
    have = await ask(js, f"STREAM.INFO.{name}", None)
    if have is None:
        try:
            await ask(js, f"STREAM.CREATE.{name}", want)
        except _MadeMeanwhile:  # by a process that started with this one, at another microsecond
            return await ensure_stream(js, want)
        return [f"created stream {name}"]
    changes = difference(have["config"], want)
    if not changes:
        return []
    _refuse_fixed(f"stream {name}", changes)
    merged = {**have["config"], **{field: value for field, (_, value) in changes.items()}}
    await ask(js, f"STREAM.UPDATE.{name}", merged)
    return [f"changed stream {name}: {_shown(changes)}"]


async def ensure_consumer(js: JetStreamContext, stage: Stage[Any]) -> list[str]:
    """Create or correct the durable of one stage; what was done. Raises as `provision` does."""
    name, stream, want = stage.name, stage.stream, consumer_config(stage)
    have = await ask(js, f"CONSUMER.INFO.{stream}.{name}", None)
    config = dict(have["config"]) if have else {}
    changes = difference(config, want)
    if have and not changes:
        return []
    if have:
        _refuse_fixed(f"consumer {name}", changes)
    for other in {"filter_subject", "filter_subjects"} - want.keys():
        config.pop(other, None)
    request = {"stream_name": stream, "config": {**config, **want}}
    await ask(js, f"CONSUMER.DURABLE.CREATE.{stream}.{name}", request)
    return [f"changed consumer {name}: {_shown(changes)}" if have else f"created consumer {name}"]


def _refuse_fixed(what: str, changes: Mapping[str, tuple[Any, Any]]) -> None:
    for field, (have, want) in changes.items():
        if field in FIXED:
            raise ConfigurationError(
                f"{what} on the bus has {field} {have}, instep needs {want}, and that cannot be "
                "changed: move or delete it, then start again"
            )


def _shown(changes: Mapping[str, tuple[Any, Any]]) -> str:
    return ", ".join(f"{name} {have} -> {want}" for name, (have, want) in changes.items())


async def ask(js: JetStreamContext, api: str, request: Config | None) -> Config | None:
    """One request to JetStream's API; None: what was asked about does not exist."""
    payload = b"" if request is None else json.dumps(request).encode()
    try:
        reply = await js._nc.request(f"$JS.API.{api}", payload, timeout=TIMEOUT_S)
    except NoRespondersError:
        raise ConfigurationError(
            "the NATS server runs without JetStream: start it with -js"
        ) from None
    except (NatsError, TimeoutError) as error:
        raise BusUnavailable(f"{api}: no answer ({type(error).__name__})") from None
    answer: Config = json.loads(reply.data)
    refusal = answer.get("error")
    if refusal is None:
        return answer
    if refusal["code"] == NOT_FOUND and request is None:
        return None
    if refusal.get("err_code") == STREAM_EXISTS:
        raise _MadeMeanwhile(f"the bus refused {api}: {refusal.get('description')}")
    no_storage = refusal.get("err_code") in NO_STORAGE
    if refusal["code"] == 503 and not no_storage:
        raise BusUnavailable(f"{api}: {refusal.get('description')}")
    hint = "; raise the server's max_file" if no_storage else ""
    raise ConfigurationError(f"the bus refused {api}: {refusal.get('description')}{hint}")
