"""The validator's handler: judges documents at their announced outcomes, many by one read."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from services.validator.batches.tracker import Tracker
from services.validator.checks import Verdict
from services.validator.observe import Observe
from shared.domain.errors import NotYetIndexed, StoreUnavailable, TransientError
from shared.domain.events import DocumentIndexed, DocumentRemoved, DocumentValidated, Event, Result
from shared.domain.ordering import Record, newest_seq, settled_seq
from shared.group import Group, Size
from shared.ports import Delivery, Ledger, Now

GATHER_S: Final = 0.1
"""How long a question waits for company while many come."""
PAUSES_S: Final = (0.1, 0.5)
"""Before a reading that the store has failed is repeated: sending a whole group back costs each of
its events a note and a longer wait."""
ONE: Final = Size(1)

Seen = Callable[[Mapping[str, Record], Mapping[str, Verdict]], None]


@dataclass(frozen=True, slots=True)
class Look:
    """Ledger and store at one moment. `verdict`: None when there is no record."""

    record: Record | None
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Ask:
    """One question. `sample`: ask for the document by its own vector, too."""

    doc_key: str
    sample: bool = False


class Looks:
    """Answers questions that come while others are being answered all together.

    Every answer is of a reading that began after its question was asked. A fault of one document is
    an error for its caller only; a ledger or store that is away, for all of a group.

    Args:
        seen: called with the finding of every reading.
    """

    def __init__(self, ledger: Ledger, observe: Observe, seen: Seen) -> None:
        self._ledger, self._observe, self._seen = ledger, observe, seen
        self._group: Group[Ask, Look] = Group(self._together, lambda _: ONE, GATHER_S)

    async def __call__(self, ask: Ask) -> Look:
        """Raises StoreUnavailable, BusUnavailable, or the fault of this document."""
        return await self._group(ask)

    async def _together(self, asks: Sequence[Ask]) -> Sequence[Look | Exception]:
        try:
            return await self._read_patiently(asks)
        except TransientError:
            raise
        except Exception:  # one document of them must not spoil the others
            if len(asks) == 1:
                raise
        return [await self._apart(ask) for ask in asks]

    async def _read_patiently(self, asks: Sequence[Ask]) -> list[Look]:
        for pause_s in PAUSES_S:
            try:
                return await self._read(asks)
            except StoreUnavailable:
                await asyncio.sleep(pause_s)
        return await self._read(asks)

    async def _apart(self, ask: Ask) -> Look | Exception:
        try:
            (look,) = await self._read([ask])
        except Exception as error:  # noqa: BLE001 - it is this caller's
            return error
        return look

    async def _read(self, asks: Sequence[Ask]) -> list[Look]:
        records = await self._ledger.get_many({ask.doc_key for ask in asks})
        verdicts = await self._observe(records, {ask.doc_key for ask in asks if ask.sample})
        self._seen(records, verdicts)
        return [Look(records.get(ask.doc_key), verdicts.get(ask.doc_key)) for ask in asks]


log = structlog.get_logger()

LINGER_S: Final = 0.05
"""How old an event is before it is looked at."""
SECOND_LOOK_S: Final = 0.3
"""Settling and cleaning follow the event within milliseconds, unless their worker dies."""
LAST_LOOK_S: Final = 65.0
"""By then an indexer that died before it cleaned has been replaced (`ack_wait` of its stage)."""
LOOKS: Final = 4
"""Most looks of one process at one event."""
REMEMBERED: Final = 10_000
"""Events that come again, and batches, of which a process remembers the looks and the samples."""


class Validate:
    """Handles RESULTS.

    Args:
        sample: documents of each batch, the first ones, that are searched for by their own vectors.
    """

    def __init__(
        self,
        generation: str,
        ledger: Ledger,
        observe: Observe,
        tracker: Tracker,
        now: Now,
        sample: int,
    ) -> None:
        self._generation, self._now, self._sample = generation, now, sample
        self._look = Looks(ledger, observe, tracker.observe)
        self._looked: OrderedDict[int, tuple[int, bool]] = OrderedDict()
        """Sequence of an event that comes again to the looks that this process has had, and whether
        they ask by the document's own vector: failed searches are repeated."""
        self._sampled: OrderedDict[tuple[str, str], int] = OrderedDict()
        """Documents that were samples, by the source and the id of their batch."""

    async def __call__(self, event: Result, delivery: Delivery) -> Sequence[Event]:
        """
        Raises:
            NotYetIndexed: look again later; this is not a fault yet.
            StoreUnavailable, BusUnavailable.
        """
        document = event.document
        if document.revision == 0:  # refused at the door: no document changed
            return []
        await asyncio.sleep(linger_s(delivery.age_s))
        looked, sample = self._looked.get(delivery.sequence) or (0, self._is_sample(event))
        look = await self._look(Ask(document.doc_key, sample))
        self._looked.pop(delivery.sequence, None)
        if not isinstance(event, DocumentIndexed | DocumentRemoved):
            return []
        seq = document.revision
        if newest_seq(look.record) > seq or settled_seq(look.record) > seq:
            return []  # the newer one will be judged
        verdict = look.verdict if settled_seq(look.record) == seq else None
        if verdict is None or not verdict.passed:
            after_s = next_look_s(verdict, looked, delivery.age_s)
            if after_s is not None:
                self._remember(delivery, looked + 1, sample)
                raise NotYetIndexed(
                    "rows differ" if verdict else "not settled yet", after_s=after_s
                )
        if verdict is None:
            log.warning("never_settled", doc_key=document.doc_key, revision=seq)
            return []
        return [self._validated(event, verdict)]

    def _remember(self, delivery: Delivery, looks: int, sample: bool) -> None:
        """The count of deliveries would not do: it includes unopened ones."""
        self._looked[delivery.sequence] = looks, sample
        if len(self._looked) > REMEMBERED:
            self._looked.popitem(last=False)

    def _validated(
        self, event: DocumentIndexed | DocumentRemoved, verdict: Verdict
    ) -> DocumentValidated:
        document = event.document
        if not verdict.passed:
            log.warning(
                "validation_failed",
                doc_key=document.doc_key,
                revision=document.revision,
                expected=verdict.expected,
                missing=verdict.missing,
                extra=verdict.extra,
                self_query=verdict.self_query,
            )
        return DocumentValidated(
            document=document,
            batch=event.batch,
            generation=self._generation,
            validated_at=self._now(),
            validation_passed=verdict.passed,
            expected_count=verdict.expected,
            vector_count=verdict.found,
            self_query_passed=verdict.self_query,
            freshness_s=_freshness_s(event),
            warnings=verdict.warnings,
        )

    def _is_sample(self, event: Result) -> bool:
        if not isinstance(event, DocumentIndexed):
            return False
        batch = event.batch.source, event.batch.id
        sampled = self._sampled.pop(batch, 0)
        is_sample = sampled < self._sample
        self._sampled[batch] = sampled + is_sample
        if len(self._sampled) > REMEMBERED:
            self._sampled.popitem(last=False)
        return is_sample


def linger_s(age_s: float) -> float:
    """Seconds until an event is looked at first. Pure.

    The indexer announces before it settles, so at once there is nothing to judge. Events of a
    backlog do not wait.
    """
    return max(0.0, LINGER_S - age_s)


def next_look_s(verdict: Verdict | None, looked: int, age_s: float) -> float | None:
    """Seconds until an event is looked at again; None: this look is final. Pure.

    Between the reading of ledger and store a newer revision may settle, so one look proves nothing.
    A worker that takes over may still clean extra rows and settle the revision.

    Args:
        verdict: a failed one; None: the revision has not settled.
        looked: earlier looks of this process.
        age_s: of the event.
    """
    if not looked:
        return SECOND_LOOK_S
    may_pass = verdict is None or (not verdict.missing and verdict.self_query is not False)
    left_s = LAST_LOOK_S - age_s
    if not may_pass or left_s < 1 or looked + 1 >= LOOKS:
        return None
    return min(left_s, LAST_LOOK_S)


def _freshness_s(event: DocumentIndexed | DocumentRemoved) -> float:
    if isinstance(event, DocumentIndexed):
        return event.freshness_s
    return max(0.0, (event.removed_at - event.document.changed_at).total_seconds())
