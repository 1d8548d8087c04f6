"""What each identity does on the bus, by streams and stages: the least that it can work with. Pure.

An identity is one key. A test runs the whole flow with these and nothing else.
"""

from dataclasses import dataclass
from typing import Any, Final

from shared.bus.presence import EVERYBODY
from shared.topology import (
    ACCEPT,
    BATCHES,
    BODIES,
    EMBCACHE,
    INSTANCE,
    LISTINGS,
    MOVER,
    RECORDER,
    STREAMS,
    TROUBLES,
    Bucket,
    Stage,
    embed_stage,
    enrich_stage,
    index_stage,
    ledger_bucket,
    validate_stage,
)

ADMIN: Final = "admin"
CLI: Final = "cli"
"""A command that opens a bus without keys; no key is made for it."""
PUBLISHER: Final = "publisher"
SERVICES: Final = ("producer", "enricher", "embedder", "indexer", "validator", "gateway")
IDENTITIES: Final = (ADMIN, *SERVICES, PUBLISHER)
"""Further publishers, `publisher-<source>`, may be added."""

ALL: Final = (">",)
ASKED: Final = "instep.sources.*.*"
"""What those who watch folders are asked (`shared.bus.watchers`)."""
AUDITED: Final = "instep.sources.audit.*"
SIDE: Final = frozenset({"DLQ", f"KV_{TROUBLES.name}"})
"""Where what goes wrong in a stage is written."""


@dataclass(frozen=True, slots=True)
class Use:
    """What an identity does with one stream or bucket. It may always see the stream's numbers."""

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


@dataclass(frozen=True, slots=True)
class Needs:
    """All that an identity does."""

    uses: tuple[Use, ...] = ()
    consumes: tuple[Stage[Any], ...] = ()
    """Stages that it handles the messages of."""
    watches: tuple[Stage[Any], ...] = ()
    """Stages whose numbers it looks at."""
    counts_streams: bool = False
    says: tuple[str, ...] = ()
    """Subjects that no stream keeps."""
    hears: tuple[str, ...] = ()
    answers: bool = False
    """It sends receipts to publishers."""


def inbox_of(identity: str) -> str:
    """Prefix of the subjects that answers to this identity come to; nobody else reads them."""
    return f"_INBOX_{identity}"


def source_of(identity: str) -> str | None:
    """Source that a publisher may publish for, `*` for all; None: it is no publisher."""
    name, _, source = identity.partition("-")
    return (source or "*") if name == PUBLISHER else None


def needs(identity: str, generation: str) -> Needs:
    """What an identity does while one generation is live. Raises ValueError for an unknown one."""
    if identity not in _NEEDS:
        raise ValueError(f"no identity {identity!r}")
    needed: Needs = _NEEDS[identity](generation)
    return needed


def streams_of(identity: str, generation: str) -> frozenset[str]:
    """Streams and buckets without which it cannot work, by the names of their streams."""
    need = needs(identity, generation)
    found = {use.stream for use in need.uses} | {stage.stream for stage in need.consumes}
    return frozenset(found | (SIDE if need.consumes else set()))


def stages_of(identity: str, generation: str) -> frozenset[str]:
    """Names of the durable consumers without which it cannot work."""
    need = needs(identity, generation)
    return frozenset(stage.name for stage in (*need.consumes, *need.watches))


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


def _results(generation: str, *subjects: str) -> tuple[str, ...]:
    return tuple(f"{subject}.{generation}.*" for subject in subjects)


def _producer(generation: str) -> Needs:
    return Needs(
        uses=(
            _docs(write=True, scan=True),
            Use("RESULTS", write=_results(generation, "documents.refused")),
            _bucket(LISTINGS, write=ALL, scan=True, erase=True),
            _bucket(BATCHES, read=False, write=ALL),
            _bucket(INSTANCE, write=("bodies.*", "watched.*")),
            _ledger(generation, read=False, many=True, scan=True),
            _bodies(erase=True, delete=True),
        ),
        consumes=(ACCEPT,),
        says=(f"{inbox_of('gateway')}.>", f"{inbox_of('validator')}.>"),
        hears=(ASKED,),
        answers=True,
    )


def _enricher(generation: str) -> Needs:
    return Needs(
        uses=(
            _docs(write=True),
            _queue(embed_stage(generation)),
            _queue(index_stage(generation)),
            Use("RESULTS", write=_results(generation, "documents.refused")),
            _bucket(INSTANCE, write=("chunking.*",)),
            _ledger(generation, write=True, scan=True),
            _bodies(),
        ),
        consumes=enrich_stage(generation).lanes,
    )


def _embedder(generation: str) -> Needs:
    return Needs(
        uses=(
            _queue(index_stage(generation)),
            _bucket(INSTANCE),
            _ledger(generation, read=False, many=True),
            _bucket(EMBCACHE, read=False, many=True, write=ALL),
        ),
        consumes=embed_stage(generation).lanes,
    )


def _indexer(generation: str) -> Needs:
    outcomes = _results(generation, "documents.indexed", "documents.removed")
    return Needs(
        uses=(
            Use("RESULTS", write=outcomes),
            _bucket(INSTANCE),
            _ledger(generation, write=True),
        ),
        consumes=index_stage(generation).lanes,
    )


def _validator(generation: str) -> Needs:
    told = ("documents.validated", "documents.failed", "batches.completed")
    work = ("INTAKE", "CHUNKS", "VECTORS")
    return Needs(
        uses=(
            _docs(write=True, scan=True),
            *(Use(stream, read=True, delete=True) for stream in work),
            Use("RESULTS", read=True, write=_results(generation, *told)),
            Use("DLQ", write=("dlq.*.*",)),
            _bucket(INSTANCE, scan=True),
            _bucket(BATCHES, write=ALL, scan=True, erase=True),
            _ledger(generation, write=True, many=True, scan=True),
            _bucket(EMBCACHE, read=False, many=True),
        ),
        consumes=(validate_stage(generation), RECORDER, MOVER),
        watches=_road(generation),
        says=(AUDITED,),
    )


def _gateway(generation: str) -> Needs:
    others = (stream.name for stream in STREAMS if stream.name not in ("DOCS", "DLQ"))
    return Needs(
        uses=(
            *(Use(stream, read=True) for stream in others),
            _docs(write=True, scan=True),
            Use("DLQ", read=True, scan=True, delete=True),
            _bucket(INSTANCE, scan=True),
            _bucket(BATCHES, write=ALL, scan=True, erase=True),
            _ledger(generation, write=True, many=True, scan=True),
            _bucket(EMBCACHE, read=False, many=True),
        ),
        watches=(ACCEPT, *_road(generation), validate_stage(generation), RECORDER, MOVER),
        says=(ASKED,),
        hears=(EVERYBODY,),
        counts_streams=True,
    )


def _road(generation: str) -> tuple[Stage[Any], ...]:
    road = (enrich_stage(generation), embed_stage(generation), index_stage(generation))
    return tuple(lane for stage in road for lane in stage.lanes)


_NEEDS: Final = {
    "producer": _producer,
    "enricher": _enricher,
    "embedder": _embedder,
    "indexer": _indexer,
    "validator": _validator,
    "gateway": _gateway,
}
