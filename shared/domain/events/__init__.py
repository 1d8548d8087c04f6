"""Every fact that crosses the bus: past tense, immutable, safe to receive twice.

JSON, one object per message. Readers ignore fields that they do not know (an older reader meets a
newer writer); writers never rename or retype a field. Golden copies live under `tests/golden/`.
"""

from typing import Any

from shared.domain.events.base import (
    Batch,
    DocKey,
    Document,
    Event,
    Metadata,
    Model,
    Scalar,
    Source,
    json_bytes,
    malformed,
)
from shared.domain.events.changes import (
    SUBMISSION,
    WATCH,
    Content,
    DocumentChanged,
    Inline,
    Linked,
    Ready,
    Stored,
)
from shared.domain.events.intake import DocumentSubmitted, Receipt, Reference, SubmittedChunk
from shared.domain.events.parts import (
    DocumentEnriched,
    EmbeddingsReady,
    PartRow,
    cache_keys,
    embedded,
    named,
    with_context,
)
from shared.domain.events.results import (
    RESULTS,
    BatchCompleted,
    BatchSummary,
    ChunkCounts,
    DocumentFailed,
    DocumentIndexed,
    DocumentNotTaken,
    DocumentRemoved,
    DocumentValidated,
    Result,
    parse_result,
)

EVENTS: tuple[type[Event], ...] = (
    DocumentSubmitted,
    DocumentChanged,
    DocumentEnriched,
    EmbeddingsReady,
    *RESULTS.values(),
    BatchCompleted,
)


def example_json(event: Event) -> dict[str, Any]:
    """The event as the JSON object that is published."""
    return event.model_dump(mode="json")


__all__ = [
    "EVENTS",
    "RESULTS",
    "SUBMISSION",
    "WATCH",
    "Batch",
    "BatchCompleted",
    "BatchSummary",
    "ChunkCounts",
    "Content",
    "DocKey",
    "Document",
    "DocumentChanged",
    "DocumentEnriched",
    "DocumentFailed",
    "DocumentIndexed",
    "DocumentNotTaken",
    "DocumentRemoved",
    "DocumentSubmitted",
    "DocumentValidated",
    "EmbeddingsReady",
    "Event",
    "Inline",
    "Linked",
    "Metadata",
    "Model",
    "PartRow",
    "Ready",
    "Receipt",
    "Reference",
    "Result",
    "Scalar",
    "Source",
    "Stored",
    "SubmittedChunk",
    "cache_keys",
    "embedded",
    "example_json",
    "json_bytes",
    "malformed",
    "named",
    "parse_result",
    "with_context",
]
