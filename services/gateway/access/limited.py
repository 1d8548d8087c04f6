"""An instance as the holder of a key of some sources sees it: as if there were no other sources.

The ports under the queries and commands are limited, not their answers. So whatever an answer is
made of, names, counts, suggestions and reasons included, comes from the sources that may be seen,
and what lies outside is answered exactly as what does not exist.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from services.gateway.access.access import Principal
from services.gateway.answers import Faces
from services.gateway.commands import InstanceCommands
from services.gateway.documents.failures import source_of_letter
from services.gateway.models import CheckView
from services.gateway.problems import Problem
from services.gateway.queries import Checks, DeadLetters, InstanceQueries, Wanted, all_letters
from services.gateway.status import status
from services.gateway.status.open_batches import OpenBatches
from services.gateway.status.reports import Reports
from services.gateway.status.snapshots import InstanceSnapshot, LedgerWatch, Snapshots
from services.gateway.status.status import Observation
from services.gateway.views import Freshness
from shared.batches.members import OpenBatch
from shared.batches.reports import BatchReport, Counted, ReportLine, Validation
from shared.domain.events import DocumentChanged
from shared.domain.ids import doc_key
from shared.domain.ordering import Record
from shared.ports import (
    ChangeLog,
    DeadLetter,
    Entry,
    Explain,
    Hold,
    Holds,
    Ledger,
    LedgerFeed,
    Newest,
    Selection,
)

K = TypeVar("K")
L = TypeVar("L", bound=ReportLine)

NOBODYS: Final = doc_key("", "")
"""No source has this name, so no document has this key."""
SHOWN_CHECKS: Final = frozenset({"bus", "store", "model", "room"})
"""Checks whose level anybody may know; their texts count what the instance holds."""


def limited(whole: Faces, access: Principal) -> Faces:
    """The part of an instance that an access may see.

    Raises:
        Problem: `forbidden`: these operations cannot be limited.
    """
    sources = access.sources
    if sources is None:
        return replace(whole, access=replace(whole.access, asked_by=access))
    queries, commands = whole.queries, whole.commands
    if not (isinstance(queries, InstanceQueries) and isinstance(commands, InstanceCommands)):
        raise Problem("forbidden", "this instance has no operations for keys of some sources")
    seen = _queries(queries, sources)
    return Faces(
        seen,
        replace(
            commands,
            queries=seen,
            ledger=seen.ledger,
            dead_letters=seen.dead_letters,
            sweeper=None,
        ),
        whole.uploads and replace(whole.uploads, queries=seen, changes=seen.changes, only=sources),
        whole.access,
    )


def _queries(whole: InstanceQueries, sources: Set[str]) -> InstanceQueries:
    ledger = LimitedLedger(whole.ledger, whole.looks.watch, sources)
    looks = LimitedSnapshots(whole.looks, sources)
    search = replace(
        whole.search_index,
        ledger=ledger,
        records=ledger.get_many,
        behind=looks.freshness,
        only=sources,
    )
    letters, reports, explain = whole.dead_letters, whole.reports, whole.explain
    return replace(
        whole,
        search_index=search,
        ledger=ledger,
        looks=looks,
        changes=LimitedChanges(whole.changes, sources),
        removals=LimitedHolds(whole.removals, sources),
        check=_checks(whole.check),
        sources=tuple(one for one in whole.sources if one.name in sources),
        book=LimitedBook(whole.book, sources) if whole.book else None,
        reports=LimitedReports(reports.only(sources)) if reports else None,
        dead_letters=LimitedLetters(letters, sources) if letters else None,
        sweeper=None,
        explain=_explain(explain, sources) if explain else None,
        is_whole=False,
    )


@dataclass(frozen=True, slots=True)
class LimitedLedger:
    """Implements `Ledger`: documents of other sources have no record.

    Nor does the time of an answer tell of them: their records, which may have many rows, are not
    read. Instead a key without a record is, which takes as long as for a document that nobody has.
    """

    whole: Ledger
    watch: LedgerWatch
    sources: Set[str]

    async def get(self, doc_key: str) -> Entry | None:
        entry = await self.whole.get(self._own(doc_key))
        return entry if entry and entry.record.source in self.sources else None

    def _own(self, doc_key: str) -> str:
        """The key, or one of no document for a document of another source."""
        source = self.watch.known.source_of(doc_key)
        return doc_key if source is None or source in self.sources else NOBODYS

    async def get_many(self, doc_keys: Collection[str]) -> Mapping[str, Record]:
        found = await self.watch.records(list(dict.fromkeys(map(self._own, doc_keys))))
        return {key: record for key, record in found.items() if record.source in self.sources}

    async def update(self, doc_key: str, record: Record, *, expect: int) -> int:
        if record.source not in self.sources:
            raise _outside(record.source)
        return await self.whole.update(doc_key, record, expect=expect)

    def entries(self) -> AsyncIterator[tuple[str, Record | None]]:
        raise _outside("")

    async def follow(self) -> LedgerFeed:
        raise _outside("")


@dataclass(frozen=True, slots=True)
class LimitedChanges:
    """Implements `ChangeLog` for reading: documents of other sources were never changed.

    Commands append to the whole log, about documents that they have found in the limited ledger.
    """

    whole: ChangeLog
    sources: Set[str]

    def sequences(self, source: str | None = None) -> AsyncIterator[tuple[str, str, int]]:
        if source not in self.sources:
            raise _outside(source or "")
        return self.whole.sequences(source)

    async def newest(self, source: str, doc_key: str) -> Newest | None:
        return await self.whole.newest(source, doc_key) if source in self.sources else None

    async def bodies(self) -> Set[str]:
        raise _outside("")

    async def append(self, change: DocumentChanged, *, expect: int, message_id: str) -> int:
        del expect, message_id
        raise _outside(change.document.source)


@dataclass(frozen=True, slots=True)
class LimitedSnapshots:
    """Implements `Snapshots`: no stage is shown, for stages count changes of all sources.

    So whether everything is in step is not known, and nothing says that it is.
    """

    whole: Snapshots
    sources: Set[str]

    @property
    def watch(self) -> LedgerWatch:
        return self.whole.watch

    async def latest(self) -> InstanceSnapshot:
        look, sources = await self.whole.latest(), frozenset(self.sources)
        index = look.index.only(sources)
        part = look.parts.get(sources)
        if part is None:
            board = index.board(look.seen.at)
            part = replace(look, seen=_seen(look.seen, sources), board=board, parts={})
            look.parts[sources] = part
        return replace(part, index=index)

    async def freshness(self) -> Freshness:
        look = await self.latest()
        return status.freshness(look.board, look.seen)

    def forget(self) -> None:
        self.whole.forget()


def _seen(seen: Observation, sources: Set[str]) -> Observation:
    past = _of(seen.past, sources)
    return replace(
        seen,
        stages=(),
        listed=False,  # a listing may be under way, and changes wait where they cannot be counted
        held=sum(_of(seen.held_of, sources).values()),
        held_of=_of(seen.held_of, sources),
        sources=_of(seen.sources, sources),
        past={
            name: replace(one, same_as=one.same_as if one.same_as in sources else "")
            for name, one in past.items()
        },
    )


def _of(by_source: Mapping[str, K], sources: Set[str]) -> dict[str, K]:
    return {name: one for name, one in by_source.items() if name in sources}


@dataclass(frozen=True, slots=True)
class LimitedHolds:
    """Implements `Holds`: nothing of other sources is held, and nothing can be done to them."""

    whole: Holds
    sources: Set[str]

    async def list(self) -> Sequence[Hold]:
        return [hold for hold in await self.whole.list() if hold.source in self.sources]

    async def release(self, source: str) -> int:
        return await self.whole.release(self._own(source))

    async def keep(self, source: str) -> int:
        return await self.whole.keep(self._own(source))

    async def forget(self, source: str) -> int:
        return await self.whole.forget(self._own(source))

    def _own(self, source: str) -> str:
        if source not in self.sources:
            raise _outside(source)
        return source


@dataclass(frozen=True, slots=True)
class LimitedBook:
    """Implements `OpenBatches`: those of the sources."""

    whole: OpenBatches
    sources: Set[str]

    async def open(self, source: str = "", batch_id: str = "") -> Mapping[str, OpenBatch]:
        found = await self.whole.open(source, batch_id)
        return {key: one for key, one in found.items() if one.batch.source in self.sources}


@dataclass(frozen=True, slots=True)
class LimitedReports:
    """Implements `Reports`: without the sample questions, which are asked of the whole index."""

    whole: Reports

    async def history(
        self, source: str = "", limit: int = 50, after: str = ""
    ) -> tuple[list[ReportLine], str]:
        lines, following = await self.whole.history(source, limit, after)
        return [_without_samples(line) for line in lines], following

    async def validations(
        self, source: str = "", limit: int = 50, after: str = ""
    ) -> tuple[list[Validation], str]:
        found, following = await self.whole.validations(source, limit, after)
        return [
            one.model_copy(update=_counted_without(one.checked, one.passed)) for one in found
        ], following

    async def reports(self, batch_id: str, source: str = "") -> Mapping[str, BatchReport]:
        found = await self.whole.reports(batch_id, source)
        return {
            name: _without_samples(report).model_copy(
                update={
                    "samples": None,
                    "checks": tuple(one for one in report.checks if one.name != "samples"),
                }
            )
            for name, report in found.items()
        }

    def only(self, sources: Set[str]) -> Reports:
        return LimitedReports(self.whole.only(sources))


def _without_samples(line: L) -> L:
    told = _counted_without(line.checked, line.validation_passed)
    told["validation_passed"] = told.pop("passed")
    return line.model_copy(update=told)


def _counted_without(checked: Counted, passed: bool | None) -> dict[str, Any]:
    """What was counted, and whether it passed, without sample questions."""
    if checked.samples:
        passed = not checked.failed if checked.documents else None
    counted = checked.model_copy(update={"samples": 0, "samples_passed": 0})
    return {"checked": counted, "passed": passed}


@dataclass(frozen=True, slots=True)
class LimitedLetters:
    """Implements `DeadLetters`: those whose source is known, and may be seen."""

    whole: DeadLetters
    sources: Set[str]

    async def list(self, *, limit: int, wanted: Wanted = all_letters) -> Sequence[DeadLetter]:
        return await self.whole.list(limit=limit, wanted=lambda one: self._has(one) and wanted(one))

    def _has(self, letter: DeadLetter) -> bool:
        return source_of_letter(letter) in self.sources

    async def drop(self, id: int) -> bool:
        return await self.whole.drop(id)


def _checks(check: Checks) -> Checks:
    async def shown() -> Sequence[CheckView]:
        return [
            CheckView(
                name=one.name,
                level=one.level,
                text="in order" if one.level == "ok" else "not in order",
                fix="" if one.level == "ok" else "instep doctor, with the owner's key",
            )
            for one in await check()
            if one.name in SHOWN_CHECKS
        ]

    return shown


def _explain(explain: Explain, sources: Set[str]) -> Explain:
    async def explained(source: str, path: str) -> Selection:
        if source not in sources:
            raise _outside(source)
        return await explain(source, path)

    return explained


def _outside(source: str) -> Problem:
    named = f" {source!r}" if source else "s"
    return Problem("forbidden", f"this key is for some sources only, not for source{named}")
