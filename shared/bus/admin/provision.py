"""The provisioning of JetStream by `shared.domain.topology`; only this module creates streams.

Every start compares. Changes start from the server's own configuration, as raw JSON: fields that
this version does not know, or that an operator set (replicas, placement), stay as they are.
"""

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import structlog
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js import JetStreamContext

from shared.bus.access.permissions import stages_of, streams_of
from shared.bus.admin.clock_sequence import SKEW_S, above, clock
from shared.bus.admin.configs import (
    Config,
    bucket_config,
    consumer_config,
    difference,
    object_store_config,
    stream_config,
    with_copies,
)
from shared.bus.admin.server import MARK
from shared.domain.errors import BusUnavailable, ConfigurationError, NotProvisioned
from shared.domain.services import SERVICES, Service, consumers
from shared.domain.topology import BODIES, BUCKETS, STREAMS, Stage, ledger_bucket

log = structlog.get_logger(__name__)

TIMEOUT_S: Final = 5.0
NOT_FOUND: Final = 404
PEER_OFFLINE: Final = "peer offline"
"""In the refusal of a cluster in which a server has not joined yet, or is away."""
NO_STORAGE: Final = (10047, 10028)
STREAM_EXISTS: Final = 10058
OTHERS_S: Final = 1.0
OTHERS_TRIES: Final = 10
"""How often, and how many times, a process with a wrong clock looks for others' streams."""
RELOAD_S: Final = 0.1
RELOAD_TRIES: Final = 10
"""A server that takes in a configuration with accounts has no JetStream for a moment."""
FIXED: Final = ("retention", "storage", "deliver_policy", "ack_policy", "replay_policy")
"""Fields whose change would need the stream or consumer made anew."""


async def provision(
    js: JetStreamContext,
    *,
    generation: str,
    replicas: int = 1,
    services: Sequence[Service] = SERVICES,
) -> list[str]:
    """Create or correct every stream, bucket and durable consumer.

    Args:
        replicas: copies of every stream, in a cluster; 1: as many as there are.

    Returns:
        The changes, one line each; none the second time.

    Raises:
        ConfigurationError: an existing stream or consumer cannot be changed as needed.
        BusUnavailable: the server does not answer.
    """
    done: list[str] = []
    streams = [with_copies(config, replicas) for config in _streams(generation)]
    by_clock = [config["name"] for config in streams if "first_seq" in config]
    for config in streams:
        done += await ensure_stream(js, config, beside=by_clock)
    for stage in consumers(generation, services):
        done += await ensure_consumer(js, stage)
    return done


async def compare(js: JetStreamContext, *, identity: str, generation: str) -> None:
    """Check the streams that one identity uses, without changes; logs differences.

    Raises:
        NotProvisioned: a stream, bucket or consumer is missing.
        ConfigurationError: one is of another kind.
        BusUnavailable: the server does not answer.
    """
    used = streams_of(identity, generation)
    for config in _streams(generation):
        if (name := config["name"]) in used:
            await _compare(js, f"STREAM.INFO.{name}", f"stream {name}", config)
    used = stages_of(identity, generation)
    for stage in consumers(generation):
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


async def account_before(js: JetStreamContext) -> str | None:
    """The account that an older version kept the streams in, by the permissions of the admin.

    None: the server's configuration notes none.

    Raises:
        BusUnavailable: the server does not answer.
    """
    try:
        reply = await js._nc.request("$SYS.REQ.USER.INFO", timeout=TIMEOUT_S)
    except (NatsError, TimeoutError) as error:
        raise BusUnavailable(f"who this is: no answer ({type(error).__name__})") from None
    about = json.loads(reply.data).get("data") or {}
    denied = ((about.get("permissions") or {}).get("publish") or {}).get("deny") or ()
    found = [subject for subject in denied if subject.startswith(f"{MARK}.")]
    return found[0].removeprefix(f"{MARK}.") if found else None


def _streams(generation: str) -> list[Config]:
    """Every stream, those of buckets too."""
    buckets = (*BUCKETS, ledger_bucket(generation))
    return [
        *(stream_config(stream) for stream in STREAMS),
        *(bucket_config(bucket) for bucket in buckets),
        object_store_config(BODIES),
    ]


class _MadeMeanwhile(ConfigurationError):
    """There is a stream of this name, with other settings."""


async def ensure_stream(
    js: JetStreamContext, want: Config, *, beside: Collection[str] = ()
) -> list[str]:
    """Create or correct one stream; returns the changes. Raises as `provision` does.

    Args:
        beside: streams that a new one by the clock begins above, if they exist.
    """
    name = want["name"]
    have = await ask(js, f"STREAM.INFO.{name}", None)
    if have is None:
        try:
            await ask(js, f"STREAM.CREATE.{name}", await _beginning(js, want, beside))
        except _MadeMeanwhile:  # by a process that started with this one, at another microsecond
            return await ensure_stream(js, want, beside=beside)
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


async def _beginning(js: JetStreamContext, want: Config, beside: Collection[str]) -> Config:
    """The stream, beginning above all given sequences.

    A machine whose clock is behind cannot tell where; another one of the same start may.

    Raises:
        _MadeMeanwhile: by another process.
        ConfigurationError: the clock is behind, and no other process made the stream.
    """
    if "first_seq" not in want:
        return want

    for tries in range(OTHERS_TRIES):
        given = await _given(js, beside)
        try:
            return {**want, "first_seq": above(given, clock(), skew_s=SKEW_S)}
        except ConfigurationError as error:
            if not tries:
                log.warning("clock_is_behind", stream=want["name"], reason=str(error))
        await asyncio.sleep(OTHERS_S)
        if await ask(js, f"STREAM.INFO.{want['name']}", None):
            raise _MadeMeanwhile(f"{want['name']} was made by another process")
    return {**want, "first_seq": above(await _given(js, beside), clock(), skew_s=SKEW_S)}


async def _given(js: JetStreamContext, names: Collection[str]) -> int:
    """The highest number that any of the streams has given."""
    found = [await ask(js, f"STREAM.INFO.{name}", None) for name in names]
    return max((info["state"]["last_seq"] for info in found if info), default=0)


async def ensure_consumer(js: JetStreamContext, stage: Stage[Any]) -> list[str]:
    """Create or correct the durable of one stage; the changes. Raises as `provision` does."""
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
    """One request to JetStream's API; None: its object does not exist."""
    payload = b"" if request is None else json.dumps(request).encode()
    answer: Config = json.loads(await _answered(js, api, payload))
    refusal = answer.get("error")
    if refusal is None:
        return answer
    if refusal["code"] == NOT_FOUND and request is None:
        return None
    if refusal.get("err_code") == STREAM_EXISTS:
        raise _MadeMeanwhile(f"the bus refused {api}: {refusal.get('description')}")
    no_storage = refusal.get("err_code") in NO_STORAGE
    is_away = PEER_OFFLINE in refusal.get("description", "")
    if is_away or (refusal["code"] == 503 and not no_storage):
        raise BusUnavailable(f"{api}: {refusal.get('description')}")
    hint = "; raise the server's max_file" if no_storage else ""
    raise ConfigurationError(f"the bus refused {api}: {refusal.get('description')}{hint}")


async def _answered(js: JetStreamContext, api: str, payload: bytes) -> bytes:
    """The answer, also when the server reloads its configuration meanwhile."""
    for tries in range(RELOAD_TRIES):
        try:
            reply = await js._nc.request(f"$JS.API.{api}", payload, timeout=TIMEOUT_S)
            return bytes(reply.data)
        except NoRespondersError:
            if tries + 1 < RELOAD_TRIES:
                await asyncio.sleep(RELOAD_S)
        except (NatsError, TimeoutError) as error:
            raise BusUnavailable(f"{api}: no answer ({type(error).__name__})") from None
    raise ConfigurationError("the NATS server runs without JetStream: start it with -js")
