"""The whole index, or one batch of it, checked now: `instep validate`."""

import asyncio
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from services.validator.checks import (
    Checked,
    SampleQuery,
    SampleResult,
    Verdict,
    freshness,
    tally,
)
from services.validator.observe import AskSamples, Observe
from services.validator.sweep.differences import Census, groups
from services.validator.sweep.sweep import ROWS_AT_ONCE
from shared.batches.history import History
from shared.batches.reports import FreshnessLine, Validation
from shared.domain.ids import bucket_of
from shared.domain.ordering import Record, served_rows
from shared.ports import Ledger, Now, VectorStore

AT_ONCE: Final = 500
LOOKS: Final = 3
SOURCES_KEPT: Final = 100
"""Sources whose verdict a run keeps."""
PAUSE_S: Final = 0.3
"""A change that is being settled looks wrong for milliseconds."""


@dataclass(frozen=True, slots=True)
class Checkup:
    """The state of the index at one moment.

    rows: in the store; None when only a batch was looked at.
    orphans: rows of documents that the ledger does not know.
    """

    generation: str
    documents: int
    pending: int
    refused: int
    failed: int
    checked: Checked
    freshness: FreshnessLine
    samples: tuple[SampleResult, ...]
    rows: int | None = None
    orphans: int = 0

    @property
    def passed(self) -> bool:
        return not self.checked.failed and not self.orphans and all(s.passed for s in self.samples)

    def as_dict(self) -> dict[str, Any]:
        fresh = self.freshness.model_dump(mode="json")
        return asdict(self) | {"freshness": fresh, "passed": self.passed}


@dataclass(frozen=True, slots=True)
class ValidateNow:
    generation: str
    ledger: Ledger
    store: VectorStore
    observe: Observe
    history: History
    ask: AskSamples
    now: Now
    sample: int = 20

    async def __call__(
        self, only: Collection[str] | None = None, queries: Sequence[SampleQuery] = ()
    ) -> Checkup:
        """Look, and keep the verdict in the history of validations.

        Args:
            only: doc_keys of a batch; None: every document.
            queries: additional to those of the settings.

        Raises:
            StoreUnavailable, BusUnavailable, EncoderBusy.
        """
        records = await self._records(only)
        verdicts = await self._verdicts(records)
        checked = tally(verdicts, extra_fails=True)
        rows, orphans = await self._orphans(checked, records) if only is None else (None, 0)
        ended = [r.settled for r in records.values() if r.settled]
        checkup = Checkup(
            generation=self.generation,
            documents=sum(bool(served_rows(r)) for r in records.values()),
            pending=sum(r.pending is not None for r in records.values()),
            refused=sum(s.outcome == "refused" for s in ended),
            failed=sum(r.failed is not None for r in records.values()),
            checked=checked,
            freshness=self._freshness(records.values()),
            samples=tuple(await self.ask([*self.ask.queries, *queries])),
            rows=rows,
            orphans=orphans,
        )
        await self.history.judge(self._points(checkup, records, verdicts, whole=only is None))
        return checkup

    def _freshness(self, records: Iterable[Record]) -> FreshnessLine:
        settled = (r.settled for r in records if r.settled and r.settled.outcome == "indexed")
        return freshness(
            (max(0.0, s.settled_at - s.changed_at) for s in settled), self.observe.freshness_warn_s
        )

    def _points(
        self,
        checkup: Checkup,
        records: Mapping[str, Record],
        verdicts: Mapping[str, Verdict],
        *,
        whole: bool,
    ) -> list[Validation]:
        """The verdict on each source, and on all of them; of a batch only on its source."""
        at, points = self.now(), []
        groups = defaultdict[str, list[str]](list)
        for key, record in records.items():
            groups[record.source].append(key)
        for source, keys in sorted(groups.items())[:SOURCES_KEPT]:
            checked = tally({k: verdicts[k] for k in keys if k in verdicts}, extra_fails=True)
            points.append(
                Validation(
                    kind="validate",
                    at=at,
                    source=source,
                    generation=self.generation,
                    passed=not checked.failed,
                    checked=checked.counted(),
                    freshness=self._freshness(records[key] for key in keys),
                )
            )
        if whole:
            points.append(
                Validation(
                    kind="validate",
                    at=at,
                    source="",
                    generation=self.generation,
                    passed=checkup.passed,
                    orphans=checkup.orphans,
                    checked=checkup.checked.counted(checkup.samples),
                    freshness=checkup.freshness,
                )
            )
        return points

    async def _records(self, only: Collection[str] | None) -> dict[str, Record]:
        if only is not None:
            return dict(await self.ledger.get_many(only))
        return {key: record async for key, record in self.ledger.entries() if record}

    async def _verdicts(self, records: Mapping[str, Record]) -> dict[str, Verdict]:
        keys, verdicts = list(records), dict[str, Verdict]()
        step = max(1, len(keys) // self.sample) if self.sample else 0
        sample = frozenset(keys[::step][: self.sample]) if step else frozenset[str]()
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            verdicts |= await self.observe({k: records[k] for k in some}, sample)
        for _ in range(LOOKS - 1):
            again = [key for key, verdict in verdicts.items() if not verdict.passed]
            if not again:
                break
            await asyncio.sleep(PAUSE_S)
            for start in range(0, len(again), AT_ONCE):
                some = again[start : start + AT_ONCE]
                verdicts |= await self.observe(await self.ledger.get_many(some), sample)
        return verdicts

    async def _orphans(self, checked: Checked, records: Mapping[str, Record]) -> tuple[int, int]:
        """Rows in the store, and how many of them belong to no document of the ledger.

        Documents come and go during the check, so different numbers only mean that a closer look is
        worth while.
        """
        rows = await self.store.count()
        if rows == checked.found_rows + checked.on_the_way:
            return rows, 0
        return rows, await self._of_nobody(records)

    async def _of_nobody(self, records: Mapping[str, Record]) -> int:
        """Rows that two looks have seen under documents that the ledger does not know."""
        digests = await self.store.digests()
        census = Census(taken=0, stuck_before=-math.inf)
        for doc_key, record in records.items():
            census.record(doc_key, record)
        rows = {bucket: digest.rows for bucket, digest in digests.items()}
        first = await self._unknown(census.suspects(digests), rows)
        if not first:
            return 0
        await asyncio.sleep(PAUSE_S)
        second = await self._unknown(sorted({bucket_of(key) for key in first}), rows)
        return sum(len(ids & second.get(key, frozenset())) for key, ids in first.items())

    async def _unknown(
        self, buckets: Iterable[str], rows: Mapping[str, int]
    ) -> dict[str, frozenset[str]]:
        """doc_key to ids of rows in the store, of documents without a record.

        The store is read first: an indexer writes rows only after their record.
        """
        found: dict[str, frozenset[str]] = {}
        for group in groups(buckets, rows, ROWS_AT_ONCE):
            holdings = await self.store.holdings(group)
            keys = list(holdings)
            for start in range(0, len(keys), AT_ONCE):
                some = keys[start : start + AT_ONCE]
                known = await self.ledger.get_many(some)
                found |= {key: holdings[key].ids for key in some if key not in known}
        return found
