"""The ports of the services. Protocols only; an adapter lives beside its vendor's SDK.

Every adapter, fakes included, passes the contract suite of its port under `tests/contract/`.
Adapters raise the errors of `shared.domain.errors` only.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime

from shared.domain.codecs.change_codec import UnreadableChange
from shared.ports.bus import (
    ChangeLog,
    DeadLetter,
    Delivery,
    Entry,
    FeedState,
    Intake,
    Ledger,
    LedgerChange,
    LedgerFeed,
    Newest,
    Publish,
    Results,
    StoredResult,
    StreamCapacity,
    Submitted,
)
from shared.ports.content import ContentStore, Shelf
from shared.ports.encoding import (
    Encoder,
    TokenCounter,
    Vector,
    VectorCache,
    Vectors,
    is_made,
)
from shared.ports.sources import Audit, Auditor, Explain, Hold, Holds, Selection
from shared.ports.store import Digest, Filter, Hit, Holding, Mode, Probe, Row, VectorStore

Now = Callable[[], datetime]
GetEncoder = Callable[[], Awaitable[Encoder]]
GetStore = Callable[[], Awaitable[VectorStore]]
"""A store takes seconds to open, a model to load: wait until it is there, or raise StillLoading."""

__all__ = [
    "Audit",
    "Auditor",
    "ChangeLog",
    "ContentStore",
    "DeadLetter",
    "Delivery",
    "Digest",
    "Encoder",
    "Entry",
    "Explain",
    "FeedState",
    "Filter",
    "GetEncoder",
    "GetStore",
    "Hit",
    "Hold",
    "Holding",
    "Holds",
    "Intake",
    "Ledger",
    "LedgerChange",
    "LedgerFeed",
    "Mode",
    "Newest",
    "Now",
    "Probe",
    "Publish",
    "Results",
    "Row",
    "Selection",
    "Shelf",
    "StoredResult",
    "StreamCapacity",
    "Submitted",
    "TokenCounter",
    "UnreadableChange",
    "Vector",
    "VectorCache",
    "VectorStore",
    "Vectors",
    "is_made",
]
