"""Reports of batches and verdicts on the index, stored in a bucket.

Generation, source, id and start identify a batch. It has one report, however many validators write
it and however often.
"""

import re
import secrets
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.batches.reports import (
    BatchReport,
    ReportLine,
    Validation,
    line_of,
    pack,
    read_line,
    read_validation,
    unpack,
    validation_of,
)
from shared.domain.events import Batch
from shared.domain.ids import batch_key, short_digest
from shared.ports import Shelf

KEPT_PER_SOURCE: Final = 500
"""Reports of one source, and runs of `validate`; the bucket keeps them for at most 30 days."""
KEPT_IN_ALL: Final = 1_500
BOUND_EVERY: Final = 20
"""Notes of this process between two checks for a surplus."""
ALL_SOURCES: Final = "_"
KINDS: Final = ("b", "v")
LAST: Final = "last"
_LINE: Final = re.compile(r"line(\.[^.]+){1,2}\.(b\.\d+\.[^.]+\.[^.]+|v\.\d+\.[^.]+)")


def surplus(names: Sequence[str], per_source: int, in_all: int) -> list[str]:
    """The names to delete so that no source has too many, and all together neither.

    Args:
        names: of lines, newest first.
    """
    gone, kept, counts = [], 0, dict[tuple[str, str], int]()
    for name in names:
        line = HistoryKey.of(name)
        of = line.source, line.kind
        counts[of] = counts.get(of, 0) + 1
        if counts[of] > per_source or kept >= in_all:
            gone.append(name)
        else:
            kept += 1
    return gone


@dataclass(frozen=True, slots=True)
class HistoryKey:
    """The key of a line, in its parts.

    generation: empty in keys of version 0.1.0, which had none.
    kind: `b` the line of a report, `v` the verdict of a run of `validate`.
    rest: digests of the batch's id and start, or the run.
    """

    generation: str
    source: str
    kind: str
    ms: str
    rest: str

    @classmethod
    def of(cls, name: str) -> "HistoryKey":
        words = name.split(".")
        at = 2 if words[3] in KINDS else 1  # without a generation, the milliseconds stand there
        source, kind, ms = words[at : at + 3]
        return cls(".".join(words[1:at]), source, kind, ms, ".".join(words[at + 3 :]))

    @property
    def place(self) -> str:
        """The sort key of lines: time, then the rest of the name."""
        return f"{self.ms}.{self.rest}.{self.source}.{self.kind}.{self.generation}"

    @property
    def report(self) -> str:
        """The key of the line's report."""
        generation = f"{self.generation}." if self.generation else ""
        return f"done.{generation}{self.source}.{self.rest}"


class History:
    """Keys: `done.<generation>.<source>.<batch>.<start>` a report;
    `line.<generation>.<source>.b.<ms>.<batch>.<start>` its line, by the time of its end;
    `line.<generation>.<source>.v.<ms>.<run>` the verdict of a run of `validate`.
    Keys of version 0.1.0 have no generation; they are read until their 30 days are over.
    """

    def __init__(self, shelf: Shelf, only: Set[str] | None = None) -> None:
        self._shelf, self._only = shelf, only
        self._noted = 0
        self._old: frozenset[str] | None = None

    def only(self, sources: Set[str]) -> "History":
        """The part that is about these sources; nothing is stored through it."""
        return History(self._shelf, sources)

    def _may_tell(self, report: str) -> bool:
        """Whether the key of a report names a source that may be seen."""
        return self._only is None or report.split(".")[-3] in self._only

    def _shows(self, line: str) -> bool:
        """The same of a line."""
        return self._only is None or HistoryKey.of(line).source in self._only

    # -- reports -----------------------------------------------------------------------------------

    async def keep(self, report: BatchReport, members: Sequence[str] = ()) -> None:
        """Store the report of a batch in place of its earlier one.

        Args:
            members: doc_keys, to check the same documents later.

        Raises:
            BusUnavailable: repeating is safe.
        """
        keys = {_done(report.batch, report.generation), _line(report)}
        before = await self._before(report.batch, report.generation)
        await self._shelf.put(_done(report.batch, report.generation), pack(report, tuple(members)))
        await self._note(_line(report), line_of(report))
        for name in (before[1] if before else set()) - keys:
            await self._shelf.delete(name)

    async def kept(self, batch: Batch, generation: str) -> BatchReport | None:
        """The report of exactly this batch, by id and start. Raises BusUnavailable."""
        before = await self._before(batch, generation)
        return before and before[0]

    async def _before(self, batch: Batch, generation: str) -> tuple[BatchReport, set[str]] | None:
        """The stored report of a batch, and its keys."""
        name = _done(batch, generation)
        value = await self._shelf.get(name)
        if value is not None:
            found = unpack(value)
            return (found[0], {name, _line(found[0])}) if found else None
        name = _without_generation(name)
        value = await self._shelf.get(name) if name in await self._old_reports() else None
        found = unpack(value) if value else None
        if found is None or found[0].generation != generation:
            return None
        return found[0], {name, _without_generation(_line(found[0]))}

    async def _old_reports(self) -> frozenset[str]:
        """Keys of reports by version 0.1.0, read once: a read for each would cost every batch."""
        if self._old is None:
            names = await self._shelf.keys("done.")
            self._old = frozenset(name for name in names if name.count(".") == 3)
        return self._old

    async def reports(self, batch_id: str, source: str = "") -> Mapping[str, BatchReport]:
        """The newest report of a batch by source; `last` is the batch that ended last.

        Args:
            source: empty for every source that has a batch of this id.

        Raises:
            BusUnavailable.
        """
        return {of: report for of, (report, _) in (await self._find(batch_id, source)).items()}

    async def members(self, batch_id: str, source: str = "") -> Mapping[str, tuple[str, ...]]:
        """doc_keys of a batch that has a report, the first 5,000, by source, as `reports`."""
        return {of: members for of, (_, members) in (await self._find(batch_id, source)).items()}

    async def _find(
        self, batch_id: str, source: str
    ) -> dict[str, tuple[BatchReport, tuple[str, ...]]]:
        if batch_id == LAST:
            lines, _ = await self._page(source, "b", 1, "")
            names = [HistoryKey.of(line).report for line in lines]
        else:
            known = await self._shelf.keys("done.")
            names = [n for n in known if _is_of(n, batch_id, source) and self._may_tell(n)]
        values = (await self._shelf.get_many(names)).values()
        read = (report for value in values if (report := unpack(value)))
        found = sorted(read, key=lambda f: f[0].completed_at)
        return {report.batch.source: (report, members) for report, members in found}

    async def history(
        self, source: str = "", limit: int = 50, after: str = ""
    ) -> tuple[list[ReportLine], str]:
        """Lines of reports, newest first, and where the next page begins; empty: there is none.

        Args:
            after: as the page before returned it.

        Raises:
            BusUnavailable.
        """
        names, following = await self._page(source, "b", limit, after)
        values = await self._shelf.get_many(names)
        lines = [line for n in names if n in values and (line := read_line(values[n]))]
        return lines, following

    # -- verdicts ----------------------------------------------------------------------------------

    async def judge(self, verdicts: Sequence[Validation]) -> None:
        """Store the verdicts of a run of `validate`, one for each source. Raises BusUnavailable."""
        run = secrets.token_hex(8)
        for verdict in verdicts:
            of = verdict.source or ALL_SOURCES
            name = f"line.{verdict.generation}.{of}.v.{_ms(verdict.at)}.{run}"
            await self._note(name, verdict)

    async def validations(
        self, source: str = "", limit: int = 50, after: str = ""
    ) -> tuple[list[Validation], str]:
        """Verdicts on batches and on the index, newest first, as `history`."""
        names, following = await self._page(source, "", limit, after)
        values = await self._shelf.get_many(names)
        found = (_validation(n, values[n]) for n in names if n in values)
        return [verdict for verdict in found if verdict], following

    # -- lines -------------------------------------------------------------------------------------

    async def _page(self, source: str, kind: str, limit: int, after: str) -> tuple[list[str], str]:
        found = await self._lines()
        return page([n for n in found if _is_wanted(n, source, kind)], limit, after)

    async def _lines(self) -> list[str]:
        """Names of lines, of version 0.1.0, too; foreign names are skipped."""
        names = await self._shelf.keys("line.")
        return [name for name in names if _LINE.fullmatch(name) and self._shows(name)]

    async def _note(self, name: str, line: ReportLine | Validation) -> None:
        await self._shelf.put(name, line.model_dump_json().encode())
        self._noted += 1
        if (self._noted - 1) % BOUND_EVERY == 0:
            names, _ = page(await self._lines(), limit=10**9)
            for gone in surplus(names, KEPT_PER_SOURCE, KEPT_IN_ALL):
                if HistoryKey.of(gone).kind == "b":
                    await self._shelf.delete(HistoryKey.of(gone).report)
                await self._shelf.delete(gone)


def page(names: Sequence[str], limit: int, after: str = "") -> tuple[list[str], str]:
    """Names of lines, newest first and each batch once, and where the next page begins.

    Args:
        after: the end of the page before. Lines added or deleted meanwhile move no other.
    """
    found, seen = [], set[str]()
    for line, name in sorted(((HistoryKey.of(n), n) for n in names), key=_place, reverse=True):
        # two validators may have stored a batch at the same time
        batch = f"{line.generation}.{line.source}.{line.kind}.{line.rest}"
        if batch not in seen and (not after or line.place < after):
            found.append(name)
        seen.add(batch)
    return found[:limit], HistoryKey.of(found[limit - 1]).place if len(found) > limit else ""


def _place(line: tuple[HistoryKey, str]) -> str:
    return line[0].place


def _ms(at: datetime) -> str:
    return f"{max(0, int(at.timestamp() * 1000)):013d}"


def _done(batch: Batch, generation: str) -> str:
    start = short_digest(batch.started_at.isoformat())
    return f"done.{batch_key(generation, batch.source, batch.id)}.{start}"


def _line(report: ReportLine) -> str:
    generation, source, rest = _done(report.batch, report.generation).split(".", 3)[1:]
    return f"line.{generation}.{source}.b.{_ms(report.completed_at)}.{rest}"


def _without_generation(name: str) -> str:
    """The key of the same note in version 0.1.0."""
    kind, _, rest = name.split(".", 2)
    return f"{kind}.{rest}"


def _is_of(name: str, batch_id: str, source: str) -> bool:
    """Whether a report is one of this batch, and of the source if one is given."""
    words = name.split(".")
    if len(words) not in (4, 5):  # of a version before 0.1.0
        return False
    return words[-2] == short_digest(batch_id, 26) and source in ("", words[-3])


def _is_wanted(name: str, source: str, kind: str) -> bool:
    """Without a source, only runs of `validate` on all sources count."""
    line = HistoryKey.of(name)
    if source not in ("", line.source):
        return False
    if kind:
        return line.kind == kind
    return bool(source) or line.kind == "b" or line.source == ALL_SOURCES


def _validation(name: str, value: bytes) -> Validation | None:
    if HistoryKey.of(name).kind == "b":
        line = read_line(value)
        return validation_of(line) if line else None
    return read_validation(value)
