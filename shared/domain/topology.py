"""Streams, buckets and stages, declared once. Pure data: nothing is opened here."""

from dataclasses import dataclass, replace
from typing import Any, Final, Generic, Literal, TypeVar

from shared.domain.events import (
    DocumentChanged,
    DocumentEnriched,
    DocumentSubmitted,
    EmbeddingsReady,
    Event,
    Result,
)
from shared.domain.priority import BULK

KB: Final = 1024
MB: Final = 1024 * KB
GB: Final = 1024 * MB
DAY_S: Final = 86_400

MAX_PART_ROWS: Final = 64
MAX_PART_BYTES: Final = 512 * KB
MAX_INLINE_BYTES: Final = 256 * KB
MAX_MESSAGE_BYTES: Final = 1 * MB

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Stream:
    """A JetStream stream as it shall be. Sizes in bytes, ages in seconds, 0 = unlimited."""

    name: str
    subjects: tuple[str, ...]
    max_bytes: int
    retention: Literal["limits", "workqueue"] = "limits"
    discard: Literal["new", "old"] = "new"
    max_msgs_per_subject: int = -1
    max_age_s: int = 0
    duplicate_window_s: int = 600
    clock_sequence: bool = False
    """First sequence = now in microseconds: made anew, it never counts below an old one."""
    compression: bool = False


STREAMS: Final = (
    Stream(
        "INTAKE",
        ("documents.submitted.*",),
        1 * GB,
        retention="workqueue",
        clock_sequence=True,  # its numbers tell a submission from an older one, for ever
    ),
    Stream(
        "DOCS",
        ("documents.changed.*.*",),
        4 * GB,
        max_msgs_per_subject=1,
        clock_sequence=True,
        compression=True,
    ),
    Stream(
        "CHUNKS",
        ("documents.enriched.*.*", f"documents.enriched.*.*.{BULK}"),
        2 * GB,
        retention="workqueue",
        compression=True,
    ),
    Stream(
        "VECTORS",
        ("embeddings.ready.*.*", f"embeddings.ready.*.*.{BULK}"),
        4 * GB,
        retention="workqueue",
    ),
    Stream(
        "RESULTS",
        (
            "documents.indexed.*.*",
            "documents.removed.*.*",
            "documents.refused.*.*",
            "documents.failed.*.*",
            "documents.validated.*.*",
            "batches.completed.*.*",
        ),
        1 * GB,
        discard="old",
        max_age_s=7 * DAY_S,
    ),
    Stream("DLQ", ("dlq.*.*",), 1 * GB, max_age_s=30 * DAY_S, duplicate_window_s=3600),
    Stream(
        "ADVISORIES",
        (
            "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>",
            "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>",
        ),
        64 * MB,
        discard="old",
        max_age_s=7 * DAY_S,
    ),
)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A KV bucket as it shall be."""

    name: str
    max_bytes: int
    discard: Literal["new", "old"] = "new"
    max_age_s: int = 0
    clock_sequence: bool = False
    direct: bool = False
    """Reads of many keys may be answered by any replica; a single `get` asks the leader."""
    lossy: bool = False
    """The server may acknowledge before it writes: for data that can be made again."""


INSTANCE: Final = Bucket("instance", 16 * MB)
LISTINGS: Final = Bucket("listings", 1 * GB)
BATCHES: Final = Bucket("batches", 256 * MB, max_age_s=30 * DAY_S)
EMBCACHE: Final = Bucket(
    "embcache", 3 * GB, discard="old", max_age_s=30 * DAY_S, direct=True, lossy=True
)
TROUBLES: Final = Bucket("troubles", 128 * MB, discard="old", max_age_s=7 * DAY_S)
"""Troubles of handlers with single messages; most messages have none here."""
BUCKETS: Final = (INSTANCE, LISTINGS, BATCHES, EMBCACHE, TROUBLES)
BODIES: Final = "bodies"


def ledger_bucket(generation: str) -> Bucket:
    return Bucket(f"ledger_{generation}", 1 * GB, clock_sequence=True, direct=True)


@dataclass(frozen=True, slots=True)
class Stage(Generic[E]):
    """One hop: its consumer, its events, its concurrency and its patience."""

    name: str
    """Durable consumer; replicas share it and so share the work."""
    stream: str
    event: type[E]
    subjects: tuple[str, ...]
    concurrency: int = 32
    """Handlers in flight per replica."""
    prefetch: int = 64
    """Messages held per replica, running ones included."""
    ack_wait_s: float = 15.0
    """Silence after which JetStream delivers again."""
    attempts: int | None = 5
    """Failed deliveries before the dead letters; None: only `patience_s` ends it."""
    patience_s: float | None = None
    """How long a fault that may pass by itself is retried; None: `PATIENCE_S` of the delivery's
    outcome, or for ever where `attempts` is None too."""
    replicas: int = 8
    """Replicas that `max_ack_pending` leaves room for."""
    paced: bool = False
    """Hold no more than was done lately (`shared.bus.delivery.pull`): other replicas may idle."""
    bulk: "Stage[E] | None" = None
    """The consumer of the bulk lane (`shared.domain.priority`); this one serves express."""
    takes: Literal["submissions", "changes", "parts", "results", "letters"] = "parts"
    """The progress of its messages: submitted; accepted (in DOCS); on record, with rows on their
    way to the index; published as results; given up."""
    work: str = ""
    """The word of failures for its work; empty: `word`."""

    @property
    def word(self) -> str:
        """Its name in status and metrics: the part before the first underscore."""
        return self.name.partition("_")[0]

    @property
    def lanes(self) -> "tuple[Stage[E], ...]":
        """The durable consumers of the hop, which one replica serves all of."""
        return (self, self.bulk) if self.bulk else (self,)

    @property
    def beat_s(self) -> float:
        """Interval of the signals that messages are still held; four of five may come late."""
        return self.ack_wait_s / 5


ACCEPT: Final = Stage(
    "accept",
    "INTAKE",
    DocumentSubmitted,
    ("documents.submitted.*",),
    concurrency=16,
    takes="submissions",
)


def enrich_stage(generation: str) -> Stage[DocumentChanged]:
    """Both lanes are delivered every change, and each leaves those of the other alone: a document
    has one subject, or its newest change would not take the place of the one before."""
    express = Stage(
        f"enricher_{generation}",
        "DOCS",
        DocumentChanged,
        ("documents.changed.*.*",),
        concurrency=8,
        prefetch=64,
        takes="changes",
        work="enrich",
    )
    return replace(express, bulk=replace(express, name=f"enricher_{BULK}_{generation}"))


def embed_stage(generation: str) -> Stage[DocumentEnriched]:
    """Many parts are open: each may have one text only, and the device takes many texts.

    The parts of an embedder that dies wait for `ack_wait_s` and then take their turn. Both together
    shall be no more than the `ack_wait_s` of other stages, so it is two thirds of theirs.
    """
    express = Stage(
        f"embedder_{generation}",
        "CHUNKS",
        DocumentEnriched,
        (f"documents.enriched.{generation}.*",),
        concurrency=128,
        prefetch=160,
        paced=True,
        work="embed",
    )
    express = replace(express, ack_wait_s=express.ack_wait_s * 2 / 3)
    return replace(
        express,
        bulk=replace(
            express,
            name=f"embedder_{BULK}_{generation}",
            subjects=(f"documents.enriched.{generation}.*.{BULK}",),
        ),
    )


def index_stage(generation: str, patience_s: float = 3600.0) -> Stage[EmbeddingsReady]:
    express = Stage(
        f"indexer_{generation}",
        "VECTORS",
        EmbeddingsReady,
        (f"embeddings.ready.{generation}.*",),
        concurrency=64,
        prefetch=128,
        attempts=None,
        patience_s=patience_s,
        work="index",
    )
    return replace(
        express,
        bulk=replace(
            express,
            name=f"indexer_{BULK}_{generation}",
            subjects=(f"embeddings.ready.{generation}.*.{BULK}",),
        ),
    )


def validate_stage(generation: str) -> Stage[Result]:
    return Stage(
        f"validator_{generation}",
        "RESULTS",
        Result,
        tuple(
            f"documents.{word}.{generation}.*"
            for word in ("indexed", "removed", "refused", "failed")
        ),
        concurrency=256,  # a question to the store costs the same for one document as for hundreds
        prefetch=512,
        takes="results",
        work="validate",
    )


RECORDER: Final[Stage[Any]] = Stage(
    "dlq_recorder",
    "DLQ",
    Event,
    ("dlq.*.*",),
    concurrency=8,
    attempts=None,
    replicas=2,
    takes="letters",
)
"""Notes in the ledger that a document failed. Writes no dead letters: it would read its own."""

MOVER: Final[Stage[Any]] = Stage(
    "dlq_mover",
    "ADVISORIES",
    Event,
    ("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>",),
    concurrency=4,
    attempts=None,
    replicas=2,
    takes="letters",
)
"""Moves messages that reached the server's limit of deliveries to the dead letters."""
