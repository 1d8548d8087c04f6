"""Documents to be read again: the chunking of their source, or this version of instep, has changed.

Neither is a part of the generation: each document concerned is submitted again, as a repair, so the
old chunks stay searchable until the new ones are, and only texts that are new are encoded.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from services.enricher.chunking.chunk import CUTTER
from shared.domain.errors import GARBAGE
from shared.domain.events import DocumentChanged
from shared.domain.ordering import Record
from shared.formats.extract import BINARY, READERS, named_format
from shared.observe.progress import Activity, Progress
from shared.ports import ChangeLog, Ledger, Shelf
from shared.repair import resubmit_newest
from shared.settings import Chunking, SourceChunking

NOTE: Final = "chunking"
"""Of the chunking by source."""
MADE_BY: Final = "_made_by"
"""No name of a source: in the same note, which keys made for older versions allow, the versions of
readers and cutter that the documents of the generation were made by."""
VERSIONS: Final[Mapping[str, int]] = {**READERS, "cutter": CUTTER}


def in_force(
    default: Chunking, noted: Mapping[str, Chunking], own: Mapping[str, SourceChunking]
) -> dict[str, Chunking]:
    """The chunking of every source that does not use the generation's.

    Args:
        noted: the values before; they stay for sources that this process does not know.
        own: the settings of the sources that it knows.
    """
    known = {
        name: default.model_copy(update=chosen.model_dump(exclude_none=True))
        for name, chosen in own.items()
    }
    return {name: each for name, each in {**noted, **known}.items() if each != default}


def changed(
    noted: Mapping[str, Chunking], wanted: Mapping[str, Chunking], default: Chunking
) -> set[str]:
    """Sources whose documents were cut with other values than the wanted ones."""
    return {
        name
        for name in noted.keys() | wanted.keys()
        if noted.get(name, default) != wanted.get(name, default)
    }


def has_chunks(record: Record) -> bool:
    newest = record.pending or record.settled
    return newest is not None and newest.outcome == "indexed"


def was_read(record: Record) -> bool:
    """Whether a reader has judged its content; another one may read what this one has refused."""
    newest = record.pending or record.settled
    return newest is not None and newest.outcome != "removed"


def read_otherwise(noted: Any, versions: Mapping[str, int]) -> frozenset[str]:
    """Formats of which documents are read or cut otherwise than those with the noted versions."""
    noted = noted if isinstance(noted, dict) else {}
    names = frozenset(versions) - {"cutter"}
    if noted.get("cutter") != versions["cutter"]:
        return names
    return frozenset(name for name in names if noted.get(name) != versions[name])


@dataclass(frozen=True, slots=True)
class Recut:
    """Has documents read again when a changed chunking or version reads them otherwise."""

    generation: str
    default: Chunking
    ledger: Ledger
    changes: ChangeLog
    notes: Shelf
    progress: Progress
    versions: Mapping[str, int] = field(default_factory=lambda: VERSIONS)

    async def __call__(self, own: Mapping[str, SourceChunking]) -> Mapping[str, Chunking]:
        """Compare with what is noted; call before the first document is cut.

        Returns:
            The chunking of every source that does not use the generation's.

        Raises:
            BusUnavailable: nothing is noted; repeating is safe.
        """
        noted, versions = await self._noted()
        wanted = in_force(self.default, noted or {}, own)
        sources = None if noted is None else changed(noted, wanted, self.default)
        formats = read_otherwise(versions, self.versions)
        if formats or sources is None or sources:
            await self._read_again(sources, formats)
            await self._note(wanted)
        return wanted

    async def _read_again(self, sources: set[str] | None, formats: frozenset[str]) -> None:
        """
        Args:
            sources: None: all.
        """
        cut, read = Counter[str](), Counter[str]()
        async for doc_key, record in self.ledger.entries():
            if record is None:
                continue
            is_cut = has_chunks(record) and (sources is None or record.source in sources)
            if not is_cut and not (formats and was_read(record)):
                continue
            newest = await self.changes.newest(record.source, doc_key)
            if newest is None or newest.readable is None:
                continue
            if is_cut or _is_concerned(newest.readable, formats):
                await resubmit_newest(self.changes, newest, generation=self.generation)
                (cut if is_cut else read)[record.source] += 1
        self._tell(cut, "its chunking has changed: {:,} documents are cut again")
        self._tell(
            read,
            "this version reads documents otherwise: {:,} are read again; texts that stay the same "
            "are not embedded again",
        )

    def _tell(self, documents: Counter[str], text: str) -> None:
        for source, count in sorted(documents.items()):
            self.progress.say(Activity("notice", source, text.format(count)))

    async def _noted(self) -> tuple[dict[str, Chunking] | None, Any]:
        """Chunking by source, and versions. Chunking is None when it cannot be read, so any source
        may have been cut with other values."""
        value = await self.notes.get(self._key)
        if value is None:
            return {}, None
        try:
            noted = json.loads(value)
            versions = noted.pop(MADE_BY, None)
            return {name: Chunking(**chosen) for name, chosen in noted.items()}, versions
        except GARBAGE:
            return None, None

    async def _note(self, wanted: Mapping[str, Chunking]) -> None:
        chunking = {name: each.model_dump() for name, each in wanted.items()}
        value = {**chunking, MADE_BY: dict(self.versions)}
        await self.notes.put(self._key, json.dumps(value).encode())

    @property
    def _key(self) -> str:
        return f"{NOTE}.{self.generation}"


def _is_concerned(change: DocumentChanged, formats: frozenset[str]) -> bool:
    """Whether one of these readers may read it: without a telling name its bytes decide."""
    named = named_format(change.document.path, change.media_type)
    return named in formats or (named in (None, "text") and not formats.isdisjoint(BINARY))
