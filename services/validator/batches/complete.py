"""Ends a batch: does the last checks, stores the report, publishes the event, deletes the list.

In this order, a reader of the event finds the report, and a process that dies in between leaves
notes by which the next one ends it again, with the report that is there.
"""

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from services.validator.batches.report import Judged, build, event_of
from services.validator.checks import SampleResult, Verdict
from services.validator.observe import AskSamples, Observe
from shared.batches.history import History
from shared.batches.members import BatchBook
from shared.batches.reports import BatchReport
from shared.ports import Ledger, Now, Publish

log = structlog.get_logger()

SAMPLES_EVERY_S: Final = 30.0
CHECK_AT_ONCE: Final = 500
RECHECKS: Final = 3
RECHECK_S: Final = 0.3


@dataclass
class Complete:
    """Ends batches of one generation.

    sample: documents of a batch without events that are searched for by their own vectors.
    """

    generation: str
    model: str
    book: BatchBook
    history: History
    ledger: Ledger
    check: Observe
    publish: Publish
    now: Now
    samples: AskSamples | None = None
    sample: int = 20
    _sampled_at: float = field(default=-math.inf, init=False)

    async def __call__(self, judged: Judged) -> BatchReport:
        """
        Raises:
            StoreUnavailable, BusUnavailable, EncoderBusy: repeating is safe.
        """
        batch = judged.open.batch
        kept = await self.history.kept(batch, self.generation)
        report = kept if kept and kept.complete else await self._report(judged)
        await self.history.keep(report, judged.members)
        await self.publish(event_of(report))
        if report.complete:
            await self.book.forget(batch)
        else:
            await self.book.set_aside(batch)
        self._log(report)
        return report

    async def _report(self, judged: Judged) -> BatchReport:
        verdicts = await self._check_rest(judged)
        samples = await self._ask(judged)
        return build(
            replace(judged, verdicts=verdicts, samples=samples),
            generation=self.generation,
            model=self.model,
            warn_s=self.check.freshness_warn_s,
            now=self.now(),
        )

    async def _check_rest(self, judged: Judged) -> Mapping[str, Verdict]:
        """Compare the documents without an event with the store, and the failed ones once more."""
        verdicts = dict(judged.verdicts)
        there = [k for k, o in judged.outcomes.items() if o.outcome in ("indexed", "removed")]
        sample = self._sample(judged)
        rest = [k for k in there if k in sample or k not in verdicts or not verdicts[k].passed]
        for attempt in range(RECHECKS):
            if attempt and rest:
                await asyncio.sleep(RECHECK_S)
            for start in range(0, len(rest), CHECK_AT_ONCE):
                some = await self.ledger.get_many(rest[start : start + CHECK_AT_ONCE])
                verdicts |= await self.check(some, sample)
            rest = [k for k in rest if k in verdicts and not verdicts[k].passed]
        return verdicts

    def _sample(self, judged: Judged) -> frozenset[str]:
        """Documents to search for by their own vectors: those not found before, and some of a batch
        without events."""
        if judged.verdicts:
            return frozenset(k for k, v in judged.verdicts.items() if v.self_query is False)
        indexed = [k for k, o in judged.outcomes.items() if o.outcome == "indexed"]
        return frozenset(indexed[: self.sample])

    async def _ask(self, judged: Judged) -> tuple[SampleResult, ...] | None:
        """Answers to the sample queries, at most every 30 s: they cost the encoder's time."""
        now = time.monotonic()
        changed = any(o.outcome in ("indexed", "removed") for o in judged.outcomes.values())
        due = changed and now >= self._sampled_at + SAMPLES_EVERY_S
        if self.samples is None or not self.samples.queries or not due:
            return None
        before, self._sampled_at = self._sampled_at, now
        try:
            return tuple(await self.samples())
        except BaseException:
            self._sampled_at = before
            raise

    def _log(self, report: BatchReport) -> None:
        said = {"batch": report.batch.id, "source": report.batch.source}
        said |= report.summary.model_dump(exclude={"chunks"})
        if report.complete:
            log.info("batch_completed", **said)
        else:
            short = report.documents.model_dump(include={"missing", "waiting"})
            log.warning("batch_given_up", **said, **short)
