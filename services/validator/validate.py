"""Judge every document as soon as the world is told about it (F1, F3), many in one look."""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from services.validator.checks import Verdict
from services.validator.observe import Observe
from services.validator.tracker import Tracker
from shared.errors import NotYetIndexed
from shared.events import (
    DocumentIndexed,
    DocumentRemoved,
    DocumentValidated,
    Event,
    Result,
)
from shared.ordering import Record, newest_seq, settled_seq
from shared.ports import Delivery, Ledger, Now

log = structlog.get_logger()

LINGER_S: Final = 0.05
"""Events that arrive within this time are looked at together."""
SECOND_LOOK_S: Final = 0.3
"""Settling and cleaning follow the event within milliseconds, unless their worker dies."""
LAST_LOOK_S: Final = 65.0
"""By then an indexer that died before it cleaned has been replaced (`ack_wait` of its stage)."""
LOOKS: Final = 4
BATCHES_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class Look:
    """Ledger and store at one moment. `verdict`: None when there is no record."""

    record: Record | None
    verdict: Verdict | None


class Validate:
    """Handles RESULTS.

    Args:
        sample: documents of a batch that are asked for by their own vectors.
    """

    def __init__(
        self,
        generation: str,
        ledger: Ledger,
        observe: Observe,
        tracker: Tracker,
        now: Now,
        *,
        sample: int = 20,
    ) -> None:
        self._generation, self._ledger, self._observe = generation, ledger, observe
        self._tracker, self._now, self._sample = tracker, now, sample
        self._sampled: OrderedDict[str, int] = OrderedDict()
        self._waiting: dict[str, tuple[bool, list[asyncio.Future[Look]]]] = {}
        self._flusher: asyncio.Task[None] | None = None

    async def __call__(self, event: Result, delivery: Delivery) -> Sequence[Event]:
        """
        Raises:
            NotYetIndexed: look again later; nothing is wrong yet.
            StoreUnavailable, BusUnavailable.
        """
        document = event.document
        if document.revision == 0:  # refused at the door: no document changed
            return []
        look = await self._look(document.doc_key, self._is_sample(event))
        if not isinstance(event, DocumentIndexed | DocumentRemoved):
            return []
        seq = document.revision
        if newest_seq(look.record) > seq or settled_seq(look.record) > seq:
            return []  # what is newer will be judged
        if settled_seq(look.record) < seq or look.verdict is None:
            return self._again(delivery, "not settled yet")
        if look.verdict.passed or _is_final(look.verdict, delivery):
            return [self._validated(event, look.verdict)]
        return self._again(delivery, "rows differ")

    def _again(self, delivery: Delivery, why: str) -> Sequence[Event]:
        if delivery.attempt >= LOOKS:
            return []
        after = SECOND_LOOK_S if delivery.attempt == 1 else LAST_LOOK_S - delivery.age_s
        raise NotYetIndexed(why, after_s=max(SECOND_LOOK_S, after))

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
        """The first documents of each batch."""
        if not isinstance(event, DocumentIndexed):
            return False
        asked = self._sampled.pop(event.batch.id, 0)
        self._sampled[event.batch.id] = asked + 1
        if len(self._sampled) > BATCHES_REMEMBERED:
            self._sampled.popitem(last=False)
        return asked < self._sample

    # -- many in one look --------------------------------------------------------------------------

    async def _look(self, doc_key: str, sample: bool) -> Look:
        asked: asyncio.Future[Look] = asyncio.get_running_loop().create_future()
        sampled, futures = self._waiting.get(doc_key, (False, []))
        self._waiting[doc_key] = (sampled or sample, [*futures, asked])
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        return await asked

    async def _flush(self) -> None:
        while self._waiting:
            await asyncio.sleep(LINGER_S)
            waiting, self._waiting = self._waiting, {}
            try:
                looks = await self._look_at(waiting, {k for k, (s, _) in waiting.items() if s})
            except Exception as error:  # noqa: BLE001 - every waiting delivery settles by it
                for _, futures in waiting.values():
                    for asked in futures:
                        if not asked.done():
                            asked.set_exception(error)
                continue
            for key, (_, futures) in waiting.items():
                for asked in futures:
                    if not asked.done():
                        asked.set_result(looks[key])

    async def _look_at(self, keys: Collection[str], sample: Collection[str]) -> Mapping[str, Look]:
        records = await self._ledger.get_many(keys)
        verdicts = await self._observe(records, sample)
        self._tracker.observe(records, verdicts)
        return {key: Look(records.get(key), verdicts.get(key)) for key in keys}


def _is_final(verdict: Verdict, delivery: Delivery) -> bool:
    """Whether the difference is an error by now. Between the reading of ledger and store a newer
    revision may settle; and rows too many may still be cleaned by whoever takes over."""
    only_extra = not verdict.missing and verdict.self_query is not False
    return delivery.age_s >= LAST_LOOK_S - 1 if only_extra else delivery.attempt > 1


def _freshness_s(event: DocumentIndexed | DocumentRemoved) -> float:
    if isinstance(event, DocumentIndexed):
        return event.freshness_s
    return max(0.0, (event.removed_at - event.document.changed_at).total_seconds())
