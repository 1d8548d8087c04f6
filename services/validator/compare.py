"""The store against the ledger: whatever the store lost or has too much is written anew.

Every repair is a re-submission of the document's newest change (`shared.repair`), so the vectors
come from the cache and nothing is encoded.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from shared.ordering import Record, settled_seq
from shared.ports import ChangeLog, Ledger, VectorStore
from shared.repair import resubmit

log = structlog.get_logger()

EVERY_BORN = 2**53
DOCUMENTS_AT_ONCE = 512
SECOND_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison found and did. `beyond_repair`: refused documents that lost rows."""

    documents: int
    differing: int = 0
    resubmitted: Mapping[str, int] = field(default_factory=dict)
    """doc_key to the revision that repairs it."""
    beyond_repair: int = 0
    agreed: Mapping[str, Record] | None = None
    """The ledger as it was read, when nothing was pending and nothing differed."""


def differs(doc_key: str, record: Record, found: frozenset[str]) -> bool:
    """Whether the store misses rows that are surely written, or has rows that nobody lists."""
    if record.pending:
        sure = {r.id(doc_key) for r in record.pending.rows if r not in record.pending.todo}
        settled = {r.id(doc_key) for r in record.settled.rows} if record.settled else set()
        return bool((sure | settled) - found)
    return found != {r.id(doc_key) for r in record.settled.rows} if record.settled else bool(found)


def promised_rows(records: Mapping[str, Record]) -> int | None:
    """Rows that the store should hold; None while something is pending."""
    if any(record.pending for record in records.values()):
        return None
    return sum(len(r.settled.rows) for r in records.values() if r.settled)


def unrepaired(revisions: Mapping[str, int], records: Mapping[str, Record]) -> dict[str, int]:
    """Those of the re-submitted documents that have neither settled nor failed since."""
    return {
        key: revision
        for key, revision in revisions.items()
        if (record := records.get(key)) is None
        or max(settled_seq(record), record.failed.seq if record.failed else 0) < revision
    }


@dataclass(frozen=True, slots=True)
class CompareStore:
    generation: str
    ledger: Ledger
    store: VectorStore
    changes: ChangeLog
    second_look_s: float = SECOND_LOOK_S

    async def __call__(self) -> Compared:
        """Compare by number first, by ids where the numbers differ, and twice what differs.

        Changes go on meanwhile: what is being cleaned differs for some milliseconds. The second
        look takes the newest records, for a revision that is planned meanwhile carries lost rows.
        """
        records = {key: record async for key, record in self.ledger.entries()}
        if promised_rows(records) == await self.store.count():
            return Compared(len(records), agreed=records)
        differing = await self._differing(records)
        if differing:
            await asyncio.sleep(self.second_look_s)
            differing = await self._differing(await self.ledger.get_many(differing))
        resubmitted: dict[str, int] = {}
        lost = 0
        for key, record in differing.items():
            if record.settled and not record.pending and record.settled.outcome == "refused":
                lost += 1  # DOCS has the refused content only, not the one that was served
                log.warning("refused_document_lost_rows", doc_key=key)
                continue
            sent = await resubmit(self.changes, record.source, key, generation=self.generation)
            if sent is not None:
                resubmitted[key] = sent
        log.info("store_compared", documents=len(records), differing=len(differing))
        return Compared(len(records), len(differing), resubmitted, lost)

    async def _differing(self, records: Mapping[str, Record]) -> dict[str, Record]:
        differing: dict[str, Record] = {}
        keys = list(records)
        for start in range(0, len(keys), DOCUMENTS_AT_ONCE):
            some = keys[start : start + DOCUMENTS_AT_ONCE]
            found = await self.store.ids(dict.fromkeys(some, EVERY_BORN))
            differing |= {k: records[k] for k in some if differs(k, records[k], found[k])}
        return differing
