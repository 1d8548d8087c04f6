"""Every service, declared once: its consumers, its uses of the bus, and its builder. Pure.

Other modules derive from this table: the choices of the command line, keys and their permissions,
the durable consumers, the order of the flow, what counts as in flight, and the words of status and
failures. A new service is one row here and one package.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from shared.domain.presence import EVERYBODY
from shared.domain.topology import (
    ACCEPT,
    BATCHES,
    BODIES,
    EMBCACHE,
    INSTANCE,
    LISTINGS,
    MOVER,
    RECORDER,
    STREAMS,
    Bucket,
    Stage,
    embed_stage,
    enrich_stage,
    index_stage,
    ledger_bucket,
    validate_stage,
)

ALL: Final = (">",)
ASKED: Final = "instep.sources.*.*"
"""Requests to the processes that watch folders (`shared.bus.monitor.watchers`)."""
AUDITED: Final = "instep.sources.audit.*"


def changes_of(source: str) -> str:
    """The subject on which other systems tell of changes in a source that is watched."""
    return f"instep.sources.changed.{source}"


@dataclass(frozen=True, slots=True)
class Use:
    """The use of one stream or bucket by a service. It may always see the stream's numbers."""

    stream: str
    read: bool = False
    """Single messages, from the leader."""
    many: bool = False
    """Newest messages of many subjects in one request, from any replica."""
    scan: bool = False
    """All messages of a subject, by a consumer that goes away by itself."""
    write: tuple[str, ...] = ()
    """Subjects of it."""
    erase: bool = False
    """All messages of a subject."""
    delete: bool = False
    """Single messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service. Its name is also the identity of its key."""

    name: str
    build: str
    """`module:function` that makes a `services.host.service.Part` of an `OpenGeneration`; the host
    imports it where it runs."""
    consumes: Callable[[str], tuple[Stage[Any], ...]] = lambda _: ()
    """The stages of the flow that it serves for a generation."""
    serves: tuple[Stage[Any], ...] = ()
    """Stages beside the flow that it serves: of dead letters."""
    uses: Callable[[str], tuple[Use, ...]] = lambda _: ()
    """Its other uses of the bus while a generation is live."""
    watches: Literal["none", "in flight", "all"] = "none"
    """Stages of others whose numbers it looks at."""
    counts_streams: bool = False
    says: tuple[str, ...] = ()
    """Subjects that no stream keeps."""
    hears: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    """Services whose requests it answers."""
    answers_publishers: bool = False
    """It sends receipts to publishers."""
    answers_while_loading: bool = False
    """It begins at once, and refuses questions that it cannot answer yet."""
    opens_store: bool = False


def _bucket(bucket: Bucket, *, read: bool = True, write: tuple[str, ...] = (), **more: bool) -> Use:
    """A bucket. `read`: a key; `write`: the keys that may be written."""
    keys = tuple(f"$KV.{bucket.name}.{key}" for key in write)
    return Use(f"KV_{bucket.name}", read=read, write=keys, **more)


def _ledger(generation: str, *, write: bool = False, **more: bool) -> Use:
    return _bucket(ledger_bucket(generation), write=ALL if write else (), **more)


def _bodies(**more: bool) -> Use:
    subjects = (f"$O.{BODIES}.C.*", f"$O.{BODIES}.M.*") if more.get("erase") else ()
    return Use(f"OBJ_{BODIES}", read=True, scan=True, write=subjects, **more)


def _docs(*, write: bool = False, scan: bool = False) -> Use:
    return Use("DOCS", read=True, scan=scan, write=("documents.changed.*.*",) if write else ())


def _queue(stage: Stage[Any]) -> Use:
    """Work for a stage, in each of its lanes."""
    return Use(stage.stream, write=tuple(s for lane in stage.lanes for s in lane.subjects))


def _results(generation: str, *subjects: str) -> Use:
    return Use("RESULTS", write=tuple(f"{subject}.{generation}.*" for subject in subjects))


PRODUCER: Final = Service(
    name="producer",
    build="services.producer.app:build",
    consumes=lambda _: (ACCEPT,),
    uses=lambda generation: (
        _docs(write=True, scan=True),
        _results(generation, "documents.refused"),
        _bucket(LISTINGS, write=ALL, scan=True, erase=True),
        _bucket(BATCHES, read=False, write=ALL),
        _bucket(INSTANCE, write=("bodies.*", "watched.*")),
        _ledger(generation, read=False, many=True, scan=True),
        _bodies(erase=True, delete=True),
    ),
    hears=(ASKED,),
    answers=("gateway", "validator"),
    answers_publishers=True,
)

ENRICHER: Final = Service(
    name="enricher",
    build="services.enricher.app:build",
    consumes=lambda generation: (enrich_stage(generation),),
    uses=lambda generation: (
        _docs(write=True),
        _queue(embed_stage(generation)),
        _queue(index_stage(generation)),
        _results(generation, "documents.refused"),
        _bucket(INSTANCE, write=("chunking.*",)),
        _ledger(generation, write=True, scan=True),
        _bodies(),
    ),
)

EMBEDDER: Final = Service(
    name="embedder",
    build="services.embedder.app:build",
    consumes=lambda generation: (embed_stage(generation),),
    uses=lambda generation: (
        _queue(index_stage(generation)),
        _bucket(INSTANCE),
        _ledger(generation, read=False, many=True),
        _bucket(EMBCACHE, read=False, many=True, write=ALL),
    ),
)

INDEXER: Final = Service(
    name="indexer",
    build="services.indexer.app:build",
    consumes=lambda generation: (index_stage(generation),),
    uses=lambda generation: (
        _results(generation, "documents.indexed", "documents.removed"),
        _bucket(INSTANCE),
        _ledger(generation, write=True),
    ),
    opens_store=True,
)

VALIDATOR: Final = Service(
    name="validator",
    build="services.validator.app:build",
    consumes=lambda generation: (validate_stage(generation),),
    serves=(RECORDER, MOVER),
    uses=lambda generation: (
        _docs(write=True, scan=True),
        *(Use(stream, read=True, delete=True) for stream in ("INTAKE", "CHUNKS", "VECTORS")),
        Use("RESULTS", read=True),
        _results(generation, "documents.validated", "documents.failed", "batches.completed"),
        Use("DLQ", write=("dlq.*.*",)),
        _bucket(INSTANCE, scan=True),
        _bucket(BATCHES, write=ALL, scan=True, erase=True),
        _ledger(generation, write=True, many=True, scan=True),
        _bucket(EMBCACHE, read=False, many=True),
    ),
    watches="in flight",
    says=(AUDITED,),
    opens_store=True,
)

GATEWAY: Final = Service(
    name="gateway",
    build="services.host.assembly:gateway_part",
    uses=lambda generation: (
        *(
            Use(stream.name, read=True)
            for stream in STREAMS
            if stream.name not in ("INTAKE", "DOCS", "DLQ")
        ),
        Use("INTAKE", read=True, write=("documents.submitted.*",)),
        _docs(write=True, scan=True),
        Use("DLQ", read=True, scan=True, delete=True),
        _bucket(INSTANCE, scan=True, write=("keys.*", "webhooks.*")),
        _bucket(BATCHES, write=ALL, scan=True, erase=True),
        _ledger(generation, write=True, many=True, scan=True),
        _bucket(EMBCACHE, read=False, many=True),
    ),
    watches="all",
    counts_streams=True,
    says=(ASKED,),
    hears=(EVERYBODY,),
    opens_store=True,
    answers_while_loading=True,
)

SERVICES: Final = (PRODUCER, ENRICHER, EMBEDDER, INDEXER, VALIDATOR, GATEWAY)
"""In the order in which a change passes them."""

NAMES: Final = tuple(service.name for service in SERVICES)


def service_of(identity: str, services: Sequence[Service] = SERVICES) -> Service:
    """The service of this name. Raises ValueError: there is none."""
    for service in services:
        if service.name == identity:
            return service
    raise ValueError(f"no identity {identity!r}")


def stages(generation: str, services: Sequence[Service] = SERVICES) -> tuple[Stage[Any], ...]:
    """The stages that a change passes, in their order; each stands for its lanes."""
    return tuple(stage for service in services for stage in service.consumes(generation))


def in_flight(generation: str, services: Sequence[Service] = SERVICES) -> tuple[Stage[Any], ...]:
    """The stages between DOCS and the ledger: what they hold is neither searchable nor failed."""
    return tuple(s for s in stages(generation, services) if s.takes in ("changes", "parts"))


def consumers(generation: str, services: Sequence[Service] = SERVICES) -> tuple[Stage[Any], ...]:
    """Every durable consumer that an instance with this live generation has."""
    beside = (stage for service in services for stage in service.serves)
    return (*lanes(stages(generation, services)), *beside)


def work_of(consumer: str, services: Sequence[Service] = SERVICES) -> str:
    """The name of a durable consumer's work in failures, for every generation and lane."""
    word = consumer.partition("_")[0]
    return next((s.work for s in stages("", services) if s.word == word and s.work), consumer)


def served(service: Service, generation: str) -> tuple[Stage[Any], ...]:
    """The durable consumers whose messages a service handles."""
    return (*lanes(service.consumes(generation)), *service.serves)


def watched(
    service: Service, generation: str, services: Sequence[Service] = SERVICES
) -> tuple[Stage[Any], ...]:
    """The durable consumers of others whose numbers a service looks at."""
    match service.watches:
        case "none":
            return ()
        case "in flight":
            return lanes(in_flight(generation, services))
        case "all":
            return consumers(generation, services)


def lanes(stages: Sequence[Stage[Any]]) -> tuple[Stage[Any], ...]:
    return tuple(lane for stage in stages for lane in stage.lanes)
