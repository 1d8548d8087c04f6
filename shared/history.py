"""Reports of batches and verdicts on the index, as they are kept on a shelf.

A batch is told from another by its id and its start: the same one has one report, however many
validators write it and however often.
"""

import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from shared.batches import key_of
from shared.events import Batch
from shared.identity import short_digest
from shared.ports import Shelf
from shared.reports import (
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

KEPT_PER_SOURCE: Final = 500
"""Reports of one source, and runs of `validate`; none longer than the 30 days of the bucket."""
KEPT_IN_ALL: Final = 1_500
BOUND_EVERY: Final = 20
"""Notes of this process between two looks whether there are too many."""
ALL_SOURCES: Final = "_"
LAST: Final = "last"
_LINE: Final = re.compile(r"line\.[^.]+\.(b\.\d+\.[^.]+\.[^.]+|v\.\d+\.[^.]+)")


def surplus(names: Sequence[str], per_source: int, in_all: int) -> list[str]:
    """The names that must go so that no source has too many, and all together have not.

    Args:
        names: of lines, newest first.
    """
    gone, kept, counts = [], 0, dict[tuple[str, str], int]()
    for name in names:
        _, source, kind, *_ = name.split(".")
        counts[source, kind] = counts.get((source, kind), 0) + 1
        if counts[source, kind] > per_source or kept >= in_all:
            gone.append(name)
        else:
            kept += 1
    return gone


class History:
    """Keys: `done.<source>.<batch>.<start>` a report;
    `line.<source>.b.<ms>.<batch>.<start>` its line, by the time of its end;
    `line.<source>.v.<ms>.<run>` the verdict of a run of `validate`.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._noted = 0

    # -- reports -----------------------------------------------------------------------------------

    async def keep(self, report: BatchReport, members: Sequence[str] = ()) -> None:
        """Keep the report of a batch, in the place of an earlier one of it.

        Args:
            members: doc_keys, for a later look at the same documents.

        Raises:
            BusUnavailable: repeating is safe.
        """
        before = await self.kept(report.batch)
        await self._shelf.put(_done(report.batch), pack(report, tuple(members)))
        await self._note(_line(report), line_of(report))
        if before is not None and _line(before) != _line(report):
            await self._shelf.delete(_line(before))

    async def kept(self, batch: Batch) -> BatchReport | None:
        """The report of exactly this batch, by id and start. Raises BusUnavailable."""
        value = await self._shelf.get(_done(batch))
        found = unpack(value) if value else None
        return found and found[0]

    async def report(self, batch_id: str, source: str = "") -> BatchReport | None:
        """The newest report of a batch, or None; `last` is the batch that ended last.

        Raises BusUnavailable.
        """
        found = await self._find(batch_id, source)
        return found and found[0]

    async def members(self, batch_id: str) -> tuple[str, ...] | None:
        """doc_keys of a batch that has a report, the first 5,000. Raises BusUnavailable."""
        found = await self._find(batch_id, "")
        return found and found[1]

    async def _find(self, batch_id: str, source: str) -> tuple[BatchReport, tuple[str, ...]] | None:
        if batch_id == LAST:
            lines, _ = await self._page(source, "b", 1, "")
            names = [_done_of(line) for line in lines]
        else:
            ending = key_of(batch_id)
            known = await self._shelf.keys(f"done.{source}." if source else "done.")
            parts = {name: name.split(".") for name in known}
            names = [name for name, of in parts.items() if len(of) == 4 and of[2] == ending]
        values = (await self._shelf.get_many(names)).values()
        found = [report for value in values if (report := unpack(value))]
        return max(found, key=lambda report: report[0].completed_at, default=None)

    async def history(
        self, source: str = "", limit: int = 50, after: str = ""
    ) -> tuple[list[ReportLine], str]:
        """Lines of reports, newest first, and where the next page begins; empty: there is none.

        Args:
            after: what the page before returned.

        Raises:
            BusUnavailable.
        """
        names, following = await self._page(source, "b", limit, after)
        values = await self._shelf.get_many(names)
        lines = [line for n in names if n in values and (line := read_line(values[n]))]
        return lines, following

    # -- verdicts ----------------------------------------------------------------------------------

    async def judge(self, verdicts: Sequence[Validation]) -> None:
        """Keep what one run of `validate` found, one for each source. Raises BusUnavailable."""
        run = secrets.token_hex(8)
        for verdict in verdicts:
            of = verdict.source or ALL_SOURCES
            await self._note(f"line.{of}.v.{_ms(verdict.at)}.{run}", verdict)

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
        found = await self._lines(source)
        return page([n for n in found if _is_wanted(n, source, kind)], limit, after)

    async def _lines(self, source: str = "") -> list[str]:
        """Names of lines; any other name was not given by us."""
        names = await self._shelf.keys(f"line.{source}." if source else "line.")
        return [name for name in names if _LINE.fullmatch(name)]

    async def _note(self, name: str, line: ReportLine | Validation) -> None:
        await self._shelf.put(name, line.model_dump_json().encode())
        self._noted += 1
        if (self._noted - 1) % BOUND_EVERY == 0:
            names, _ = page(await self._lines(), limit=10**9)
            for gone in surplus(names, KEPT_PER_SOURCE, KEPT_IN_ALL):
                if gone.split(".")[2] == "b":
                    await self._shelf.delete(_done_of(gone))
                await self._shelf.delete(gone)


def page(names: Sequence[str], limit: int, after: str = "") -> tuple[list[str], str]:
    """Names of lines, newest first and each batch once, and where the next page begins.

    Args:
        after: the end of the page before. A line that came or went meanwhile moves no other.
    """
    found, seen = [], set[str]()
    for name in sorted(names, key=_place, reverse=True):
        _, source, kind, _, rest = name.split(".", 4)
        batch = f"{source}.{kind}.{rest}"  # two validators may have kept it at the same time
        if batch not in seen and (not after or _place(name) < after):
            found.append(name)
        seen.add(batch)
    return found[:limit], _place(found[limit - 1]) if len(found) > limit else ""


def _place(name: str) -> str:
    """What lines are ordered by: time, then the rest of the name."""
    _, source, kind, ms, rest = name.split(".", 4)
    return f"{ms}.{rest}.{source}.{kind}"


def _ms(at: datetime) -> str:
    return f"{max(0, int(at.timestamp() * 1000)):013d}"


def _of(batch: Batch) -> str:
    return f"{key_of(batch.id)}.{short_digest(batch.started_at.isoformat(), 8)}"


def _done(batch: Batch) -> str:
    return f"done.{batch.source}.{_of(batch)}"


def _line(line: ReportLine) -> str:
    return f"line.{line.batch.source}.b.{_ms(line.completed_at)}.{_of(line.batch)}"


def _done_of(line: str) -> str:
    _, source, _, _, rest = line.split(".", 4)
    return f"done.{source}.{rest}"


def _is_wanted(name: str, source: str, kind: str) -> bool:
    """Without a source, only those runs of `validate` count that are about all."""
    of, is_kind = name.split(".")[1:3]
    if kind:
        return is_kind == kind
    return bool(source) or is_kind == "b" or of == ALL_SOURCES


def _validation(name: str, value: bytes) -> Validation | None:
    if name.split(".")[2] == "b":
        line = read_line(value)
        return validation_of(line) if line else None
    return read_validation(value)
