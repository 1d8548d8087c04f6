"""Sources with chunking of their own: the values in force, and the effect of a change.

A source's chunking is no part of the generation: a change of it cuts the documents of that source
anew, each as a repair, so the old chunks stay searchable until the new ones are, and only texts
that are new are encoded.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.domain.errors import GARBAGE
from shared.domain.ordering import Record
from shared.observe.progress import Activity, Progress
from shared.ports import ChangeLog, Ledger, Shelf
from shared.repair import resubmit
from shared.settings import Chunking, SourceChunking

NOTE: Final = "chunking"


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


def has_content(record: Record) -> bool:
    newest = record.pending or record.settled
    return newest is not None and newest.outcome == "indexed"


@dataclass(frozen=True, slots=True)
class Recut:
    """Has documents cut again whose source's chunking has changed since they were."""

    generation: str
    default: Chunking
    ledger: Ledger
    changes: ChangeLog
    notes: Shelf
    progress: Progress

    async def __call__(self, own: Mapping[str, SourceChunking]) -> Mapping[str, Chunking]:
        """Compare with what is noted; call before the first document is cut.

        Returns:
            The chunking of every source that does not use the generation's.

        Raises:
            BusUnavailable: nothing is noted; repeating is safe.
        """
        noted = await self._noted()
        wanted = in_force(self.default, noted or {}, own)
        sources = None if noted is None else changed(noted, wanted, self.default)
        if sources is not None and not sources:
            return wanted
        again = Counter[str]()
        async for doc_key, record in self.ledger.entries():
            concerned = record and (sources is None or record.source in sources)
            if record and concerned and has_content(record):
                await resubmit(self.changes, record.source, doc_key, generation=self.generation)
                again[record.source] += 1
        await self._note(wanted)
        for source, documents in sorted(again.items()):
            text = f"its chunking has changed: {documents:,} documents are cut again"
            self.progress.say(Activity("notice", source, text))
        return wanted

    async def _noted(self) -> dict[str, Chunking] | None:
        """None: it cannot be read, so any source may have been cut with other values."""
        value = await self.notes.get(self._key)
        if value is None:
            return {}
        try:
            return {name: Chunking(**chosen) for name, chosen in json.loads(value).items()}
        except GARBAGE:
            return None

    async def _note(self, wanted: Mapping[str, Chunking]) -> None:
        value = {name: chunking.model_dump() for name, chunking in wanted.items()}
        await self.notes.put(self._key, json.dumps(value).encode())

    @property
    def _key(self) -> str:
        return f"{NOTE}.{self.generation}"
