"""The subjects that the key of an identity may use, in nats-server's terms. Pure.

Requests to JetStream have subjects, too. The server cannot tell two pairs apart: a key that may
write to a bucket may empty it, and a key that may list a stream may read all of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.domain.presence import subject_of
from shared.domain.services import (
    NAMES,
    SERVICES,
    Service,
    Use,
    consumers,
    served,
    service_of,
    watched,
)
from shared.domain.topology import TROUBLES, Stage

API: Final = "$JS.API"
EVERYTHING: Final = ">"
ADMIN: Final = "admin"
CLI: Final = "cli"
"""A command that opens a bus without keys; no key is made for it."""
PUBLISHER: Final = "publisher"
IDENTITIES: Final = (ADMIN, *NAMES, PUBLISHER)
"""The identities that get keys. Further publishers, `publisher-<source>`, may be added."""
SIDE: Final = frozenset({"DLQ", f"KV_{TROUBLES.name}"})
"""The buckets and streams for the failures of a stage."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects in nats-server's terms: it denies all others."""

    publish: tuple[str, ...]
    not_publish: tuple[str, ...]
    """Exceptions from `publish`."""
    subscribe: tuple[str, ...]


def inbox_of(identity: str) -> str:
    """Prefix of the subjects of answers to this identity; no other identity reads them."""
    return f"_INBOX_{identity}"


def source_of(identity: str) -> str | None:
    """Source that a publisher may publish for, `*` for all; None: it is no publisher."""
    name, _, source = identity.partition("-")
    return (source or "*") if name == PUBLISHER else None


def streams_of(identity: str, generation: str) -> frozenset[str]:
    """Streams and buckets without which a service cannot work, by the names of their streams."""
    service = service_of(identity)
    stages = served(service, generation)
    found = {use.stream for use in service.uses(generation)} | {stage.stream for stage in stages}
    return frozenset(found | (SIDE if stages else set()))


def stages_of(identity: str, generation: str) -> frozenset[str]:
    """Names of the durable consumers without which a service cannot work."""
    service = service_of(identity)
    stages = (*served(service, generation), *watched(service, generation))
    return frozenset(stage.name for stage in stages)


def permissions(
    identity: str,
    generations: Sequence[str],
    *,
    publishers: Iterable[str] = (PUBLISHER,),
    services: Sequence[Service] = SERVICES,
) -> Permissions:
    """The permissions of an identity's key.

    Args:
        identity: of a service of the table, `admin`, `publisher` or `publisher-<source>`.
        generations: ids of those that it works on; it cannot open other ledgers.
        publishers: identities that the producer answers.

    Raises:
        ValueError: there is no such identity.
    """
    if identity == ADMIN:
        return Permissions((EVERYTHING,), (), (EVERYTHING,))
    if (source := source_of(identity)) is not None:
        subjects = (f"documents.submitted.{source}",)
        return Permissions(subjects, (), (f"{inbox_of(identity)}.>",))
    service = service_of(identity, services)
    publish, deny = list(service.says), list[str]()
    for generation in generations:
        stages = served(service, generation)
        for use in service.uses(generation):
            publish += _of_use(use)
            deny += _not_of_use(use, stages, generations, services)
        for stage in stages:
            publish += _of_stage(stage)
        publish += (_info_of(stage) for stage in watched(service, generation, services))
    if service.counts_streams:
        publish.append(f"{API}.STREAM.LIST")
    publish += (f"{inbox_of(name)}.>" for name in service.answers)
    if service.answers_publishers:
        publish += ["_INBOX.>", *(f"{inbox_of(name)}.>" for name in publishers)]
    subscribe = (f"{inbox_of(identity)}.>", *service.hears)
    return Permissions(_once(publish), _once(deny), _once(subscribe))


def _of_use(use: Use) -> list[str]:
    name = use.stream
    allowed = [f"{API}.STREAM.INFO.{name}", *use.write]
    if use.read:
        allowed.append(f"{API}.STREAM.MSG.GET.{name}")
    if use.many:
        allowed.append(f"{API}.DIRECT.GET.{name}")
    if use.scan:
        # without a name in the subject: the server refuses durable ones there
        allowed.append(f"{API}.CONSUMER.CREATE.{name}")
        allowed += [f"{API}.CONSUMER.{verb}.{name}.*" for verb in ("MSG.NEXT", "DELETE")]
    if use.erase:
        allowed.append(f"{API}.STREAM.PURGE.{name}")
    if use.delete:
        allowed.append(f"{API}.STREAM.MSG.DELETE.{name}")
    return allowed


def _not_of_use(
    use: Use,
    own: Sequence[Stage[Any]],
    generations: Sequence[str],
    services: Sequence[Service],
) -> list[str]:
    """A scan has a name that the server makes up, so the durable ones are excepted by name."""
    if not use.scan:
        return []
    durable = [stage for generation in generations for stage in consumers(generation, services)]
    here = [stage.name for stage in durable if stage.stream == use.stream]
    mine = {stage.name for stage in own}
    denied = [f"{API}.CONSUMER.DELETE.{use.stream}.{name}" for name in here]
    return denied + [
        f"{API}.CONSUMER.MSG.NEXT.{use.stream}.{name}" for name in here if name not in mine
    ]


def _of_stage(stage: Stage[Any]) -> list[str]:
    """Fetch, look, settle (both formats of acknowledgements), bury, note trouble, be counted."""
    where = f"{stage.stream}.{stage.name}"
    return [
        f"{API}.CONSUMER.MSG.NEXT.{where}",
        _info_of(stage),
        *(f"{API}.STREAM.INFO.{name}" for name in (stage.stream, *sorted(SIDE))),
        f"$JS.ACK.{where}.>",
        f"$JS.ACK.*.*.{where}.>",
        f"dlq.{where}",
        f"$KV.{TROUBLES.name}.{stage.name}.>",
        f"{API}.STREAM.MSG.GET.KV_{TROUBLES.name}",
        f"{API}.STREAM.PURGE.KV_{TROUBLES.name}",
        subject_of(stage.name),
    ]


def _info_of(stage: Stage[Any]) -> str:
    return f"{API}.CONSUMER.INFO.{stage.stream}.{stage.name}"


def _once(subjects: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(subjects))
