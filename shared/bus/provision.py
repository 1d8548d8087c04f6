"""Make JetStream look like `shared.topology` says; the only code that creates anything there.

Every start compares. Changes start from the server's own configuration, as raw JSON: fields that
this version does not know, or that an operator set (replicas, placement), stay as they are.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

import structlog
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js import JetStreamContext

from shared.bus.needs import stages_of, streams_of
from shared.bus.rising import SKEW_S, above, clock
from shared.errors import BusUnavailable, ConfigurationError, NotProvisioned
from shared.topology import (
    BODIES,
    BUCKETS,
    GB,
    MOVER,
    RECORDER,
    STREAMS,
    Bucket,
    Stage,
    Stream,
    ledger_bucket,
    stages,
)

log = structlog.get_logger(__name__)

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


async def provision(
    js: JetStreamContext, *, generation: str, patience_s: float, replicas: int = 1
) -> list[str]:
    """Create or correct every stream, bucket and durable consumer.

    Args:
        replicas: copies of every stream, in a cluster; 1: as many as there are.

    Returns:
        What was done, one line each; nothing the second time.

    Raises:
        ConfigurationError: something exists that cannot be changed into what is needed.
        BusUnavailable: the server does not answer.
    """
    done: list[str] = []
    streams = [with_copies(config, replicas) for config in _streams(generation)]
    by_clock = [config["name"] for config in streams if "first_seq" in config]
    for config in streams:
        done += await ensure_stream(js, config, beside=by_clock)
    for stage in (*stages(generation, patience_s), RECORDER, MOVER):
        done += await ensure_consumer(js, stage)
    return done


async def compare(js: JetStreamContext, *, identity: str, generation: str) -> None:
    """Look at what one identity uses, and change nothing; a difference is logged.

    Raises:
        NotProvisioned: something is missing.
        ConfigurationError: something is of another kind.
        BusUnavailable: the server does not answer.
    """
    used = streams_of(identity, generation)
    for config in _streams(generation):
        if (name := config["name"]) in used:
            await _compare(js, f"STREAM.INFO.{name}", f"stream {name}", config)
    used = stages_of(identity, generation)
    for stage in (*stages(generation), RECORDER, MOVER):
        if stage.name in used:
            api = f"CONSUMER.INFO.{stage.stream}.{stage.name}"
            await _compare(js, api, f"consumer {stage.name}", consumer_config(stage))


async def _compare(js: JetStreamContext, api: str, what: str, want: Config) -> None:
    have = await ask(js, api, None)
    if have is None:
        raise NotProvisioned(f"the bus has no {what}: run `instep provision` as the admin")
    changes = difference(have["config"], want)
    _refuse_fixed(what, changes)
    if changes:
        log.warning("bus_differs", what=what, differs=_shown(changes), fix="instep provision")


def _streams(generation: str) -> list[Config]:
    """Every stream, those of buckets too."""
    buckets = (*BUCKETS, ledger_bucket(generation))
    return [
        *(stream_config(stream) for stream in STREAMS),
        *(bucket_config(bucket) for bucket in buckets),
        object_store_config(BODIES),
    ]


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
    return {"first_seq": clock()} if by_clock else {}


class _MadeMeanwhile(ConfigurationError):
    """There is a stream of this name, with other settings."""


async def ensure_stream(
    js: JetStreamContext, want: Config, *, beside: Collection[str] = ()
) -> list[str]:
    """Create or correct one stream; what was done. Raises as `provision` does.

    Args:
        beside: streams that a new one by the clock begins above, so far as they exist.
    """
    name = want["name"]
    have = await ask(js, f"STREAM.INFO.{name}", None)
    if have is None:
        if "first_seq" in want:
            want = {**want, "first_seq": above(await _given(js, beside), clock(), skew_s=SKEW_S)}
        try:
            await ask(js, f"STREAM.CREATE.{name}", want)
        except _MadeMeanwhile:  # by a process that started with this one, at another microsecond
            return await ensure_stream(js, want)
        return [f"created stream {name}"]
    changes = difference(have["config"], want)
    if have["config"].get("persist_mode") == "async":
        changes.pop("num_replicas", None)  # refused; made anew it would have its copies
    if not changes:
        return []
    _refuse_fixed(f"stream {name}", changes)
    merged = {**have["config"], **{field: value for field, (_, value) in changes.items()}}
    await ask(js, f"STREAM.UPDATE.{name}", merged)
    return [f"changed stream {name}: {_shown(changes)}"]


async def _given(js: JetStreamContext, names: Collection[str]) -> int:
    """The highest number that any of the streams has given."""
    found = [await ask(js, f"STREAM.INFO.{name}", None) for name in names]
    return max((info["state"]["last_seq"] for info in found if info), default=0)


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
