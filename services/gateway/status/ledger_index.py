"""An index of the ledger for lists and counts, in about 150 bytes a document. Pure.

A fold over records and their changes: `put` them in their order, and it answers as a reading of the
whole ledger would. It keeps no counts, so none can drift.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Set
from copy import copy
from itertools import compress
from operator import itemgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.gateway.documents.documents import DOC_KEY, Summary, moment, summary
from services.gateway.models import STATES
from services.gateway.status.status import WINDOW_S, Board
from shared.domain.ordering import Record, State, is_unread

_GONE: Final = 255
"""Instead of a state: the key is known, and has no record."""
_STAGES: Final = (None, "enrich", "embed", "confirm")
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_TO_DIGITS: Final = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
_HALF: Final = (1 << 64) - 1
_FEW: Final = 4096
_KINDS: Final = {
    (word, stale): 2 * n + stale for n, word in enumerate(STATES) for stale in (False, True)
}


class LedgerIndex:
    """The newest record of every document, without its rows.

    `len` counts the keys that were ever put, those without a record too: as many as the bucket has
    messages. Keys that no document can have are counted and otherwise ignored.
    """

    def __init__(self) -> None:
        self._high, self._low, self._rest = array("Q"), array("Q"), array("B")  # of the doc_key
        self._kind, self._stage = array("B"), array("B")
        self._source, self._chunks = array("I"), array("I")
        self._changed, self._settled, self._fresh = array("d"), array("d"), array("d")
        self._path: list[bytes] = []
        self._told: dict[int, State] = {}
        """States with a reason or a stage of their own; the others are kind and stage."""
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._by_key = array("I")
        """Slots by the first 64 bits of their keys; those since the last sorting are in `_new`."""
        self._new: dict[int, int] = {}
        self._order: NDArray[np.uint32] | None = None
        self._unreadable: set[int] = set()
        """Slots of documents whose record cannot be read."""
        self._strange: set[str] = set()
        self._only: Set[str] | None = None
        self._whole = self
        """What this is a part of; itself where it is all."""

    def only(self, sources: Set[str]) -> "LedgerIndex":
        """The part about these sources, as it is now: good until the ledger changes."""
        part = copy(self)
        part._only = sources
        return part

    def _may_tell(self) -> NDArray[np.bool_]:
        """For each slot whether it is about a source that may be seen."""
        if self._only is None:
            return np.ones(len(self._source), bool)
        numbers = [number for name, number in self._numbers.items() if name in self._only]
        return np.isin(np.frombuffer(self._source, np.uint32), numbers)

    def __len__(self) -> int:
        return len(self._path) + len(self._strange)

    def put(self, key: str, record: Record | None, unreadable: bool = False) -> None:
        """Note the newest record under a key; None: it has none any more.

        A record with invalid times or names counts as none: its document cannot be shown.

        Args:
            unreadable: the value under the key is not a record.
        """
        if not DOC_KEY.fullmatch(key):
            self._strange.add(key)
            return
        number = int(key.translate(_TO_DIGITS), 32)
        slot = self._find(number)
        if slot is None:
            slot = self._add(number)
        try:
            self._write(slot, None if record is None else summary(key, record))
        except (TypeError, ValueError, OverflowError, AttributeError, OSError):
            self._write(slot, None)
            unreadable = True
        (self._unreadable.add if unreadable else self._unreadable.discard)(slot)

    def is_at(self, key: str, record: Record) -> bool:
        """Whether a record read elsewhere is the one that was put last, and no older one."""
        if not DOC_KEY.fullmatch(key):
            return False
        slot = self._find(int(key.translate(_TO_DIGITS), 32))
        if slot is None or self._kind[slot] == _GONE:
            return False
        return self._summary(slot) == summary(key, record)

    def board(self, now: float) -> Board:
        """The counts, at a time."""
        kind = np.frombuffer(self._kind, np.uint8)
        if self._only is not None:
            kind = np.where(self._may_tell(), kind, np.uint8(_GONE))
        counts = np.bincount(kind, minlength=256)
        words = {str(w): int(counts[2 * n : 2 * n + 2].sum()) for n, w in enumerate(STATES)}
        words["stale"] = int(counts[1 : 2 * len(STATES) : 2].sum())
        there = (kind != _GONE) & (kind // 2 != STATES.index("removed"))
        sources = np.bincount(np.frombuffer(self._source, np.uint32)[there])
        working = np.frombuffer(self._changed)[kind // 2 == STATES.index("working")]
        fresh = np.frombuffer(self._fresh)
        recent = (now - np.frombuffer(self._settled) <= WINDOW_S) & (kind != _GONE)
        return Board(
            documents={word: count for word, count in words.items() if count},
            chunks=int(np.frombuffer(self._chunks, np.uint32)[kind != _GONE].sum(dtype=np.int64)),
            by_source={self._names[n]: int(count) for n, count in enumerate(sources) if count},
            oldest_open_at=float(working.min()) if len(working) else None,
            freshness_s=tuple(np.sort(fresh[recent & ~np.isnan(fresh)]).tolist()),
            unreadable=(len(self._unreadable) if self._only is None else 0)  # of unknown sources
            + sum(
                at.word == "failed" and is_unread(at) and kind[slot] != _GONE
                for slot, at in self._told.items()
            ),
        )

    def page(
        self,
        *,
        words: Collection[str] = (),
        source: str = "",
        prefix: str = "",
        stale: bool | None = None,
        after: tuple[str, str] | None = None,
        limit: int,
    ) -> tuple[list[Summary], int, bool]:
        """Documents in the order of source and path, the number of all, whether more follow.

        Args:
            words: states that are wanted; empty: all.
            after: source and path that come before the first.
        """
        slots = self._ordered()
        kind = np.frombuffer(self._kind, np.uint8)[slots]
        wanted = [
            number
            for (word, is_stale), number in _KINDS.items()
            if (not words or word in words) and stale in (None, is_stale)
        ]
        fits = np.isin(kind, wanted)
        if self._only is not None:
            fits &= self._may_tell()[slots]
        if source:
            number = self._numbers.get(source, -1)
            fits &= np.frombuffer(self._source, np.uint32)[slots] == number
        found = slots[fits].tolist()
        if prefix:
            begins = prefix.encode("utf-8", "surrogatepass")
            found = [slot for slot in found if self._path[slot].startswith(begins)]
        start = 0
        if after is not None:
            place = after[0], after[1].encode("utf-8", "surrogatepass")
            start = bisect_right(found, place, key=self._place)
        shown = found[start : start + limit]
        return [self._summary(slot) for slot in shown], len(found), start + limit < len(found)

    def of(self, *words: str) -> list[Summary]:
        """All documents in one of the states."""
        return self.page(words=words, limit=len(self._path))[0]

    def word(self, key: str) -> str | None:
        """The state of a document; None: it has no record."""
        if not DOC_KEY.fullmatch(key):
            return None
        slot = self._find(int(key.translate(_TO_DIGITS), 32))
        if slot is None or self._kind[slot] == _GONE:
            return None
        return STATES[self._kind[slot] // 2]

    def sources(self) -> set[str]:
        """Sources of all documents."""
        kind = np.frombuffer(self._kind, np.uint8)
        shown = (kind != _GONE) & self._may_tell()
        used = np.unique(np.frombuffer(self._source, np.uint32)[shown])
        return {self._names[number] for number in used.tolist()}

    def source_of(self, key: str) -> str | None:
        """The source of a document, None where there is no record of it."""
        slot = self._find(int(key.translate(_TO_DIGITS), 32)) if DOC_KEY.fullmatch(key) else None
        there = slot is not None and self._kind[slot] != _GONE
        name = self._names[self._source[slot]] if slot is not None and there else None
        return name if self._only is None or name in self._only else None

    def names(self) -> Iterator[tuple[str, str]]:
        """Source and path of every document; a copy, so that a thread may read it."""
        shown = self._may_tell().tolist()
        rows = list(compress(zip(self._source, self._path, self._kind, strict=True), shown))
        names = list(self._names)
        return (
            (names[source], path.decode("utf-8", "surrogatepass"))
            for source, path, kind in rows
            if kind != _GONE
        )

    def _find(self, number: int) -> int | None:
        if (slot := self._new.get(number)) is not None:
            return slot
        high = number >> 66
        at = bisect_left(self._by_key, high, key=self._high.__getitem__)
        while at < len(self._by_key) and self._high[self._by_key[at]] == high:
            if self._number(self._by_key[at]) == number:
                return self._by_key[at]
            at += 1
        return None

    def _number(self, slot: int) -> int:
        return self._high[slot] << 66 | self._low[slot] << 2 | self._rest[slot]

    def _add(self, number: int) -> int:
        slot = len(self._path)
        self._high.append(number >> 66)
        self._low.append(number >> 2 & _HALF)
        self._rest.append(number & 3)
        for column in (self._stage, self._source, self._chunks):
            column.append(0)
        for times in (self._changed, self._settled, self._fresh):
            times.append(np.nan)
        self._kind.append(_GONE)
        self._path.append(b"")
        self._new[number] = slot
        self._order = None  # a document without a known path looks as if it had always been there
        if len(self._new) > max(_FEW, len(self._path) // 8):
            by_key = np.argsort(np.frombuffer(self._high, np.uint64), kind="stable")
            self._by_key = array("I", by_key.astype(np.uint32).tobytes())
            self._new = {}
        return slot

    def _write(self, slot: int, seen: Summary | None) -> None:
        if seen is None:
            seen_as: tuple[Any, ...] = (_GONE, 0, 0, np.nan, np.nan, np.nan)
            source, path, told = self._source[slot], b"", None
        else:
            seen_as = _columns(seen)
            source, path = self._source_number(seen.source), _text(seen.path)
            plain = seen.state.reason is None and seen.state.word not in ("failed", "dropped")
            told = None if plain else seen.state
        if path != self._path[slot] or source != self._source[slot]:
            self._order = None
        (
            self._kind[slot],
            self._stage[slot],
            self._chunks[slot],
            self._changed[slot],
            self._settled[slot],
            self._fresh[slot],
        ) = seen_as
        self._source[slot], self._path[slot] = source, path
        self._told.pop(slot, None)
        if told is not None:
            self._told[slot] = told

    def _source_number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            _text(name)
            number = self._numbers[name] = len(self._names)
            self._names.append(name)
        return number

    def _ordered(self) -> NDArray[np.uint32]:
        """Slots in the order of source, path and key; it is made once for all parts."""
        if self._whole is not self:
            return self._whole._ordered()
        if self._order is None:
            keys = self._rest, self._low, self._high
            by_key = np.lexsort([np.frombuffer(k, k.typecode) for k in keys]).tolist()
            by_path = np.asarray(sorted(by_key, key=self._path.__getitem__), np.uint32)
            ranks = np.empty(len(self._names) + 1, np.uint32)
            for rank, (_, number) in enumerate(sorted(self._numbers.items(), key=itemgetter(0))):
                ranks[number] = rank
            sources = ranks[np.frombuffer(self._source, np.uint32)[by_path]]
            self._order = by_path[np.argsort(sources, kind="stable")]
        return self._order

    def _place(self, slot: int) -> tuple[str, bytes]:
        return self._names[self._source[slot]], self._path[slot]

    def _summary(self, slot: int) -> Summary:
        kind = self._kind[slot]
        plain = State(STATES[kind // 2], stale=bool(kind % 2), stage=_STAGES[self._stage[slot]])
        number = self._number(slot)
        return Summary(
            key="".join(_ALPHABET[number >> 5 * n & 31] for n in range(25, -1, -1)),
            source=self._names[self._source[slot]],
            path=self._path[slot].decode("utf-8", "surrogatepass"),
            state=self._told.get(slot, plain),
            chunk_count=self._chunks[slot],
            changed_at=_known(self._changed[slot]),
            settled_at=_known(self._settled[slot]),
            freshness_s=_known(self._fresh[slot]),
        )


def _columns(seen: Summary) -> tuple[int, int, int, float, float, float]:
    """Kind, stage, chunks and the three times. Raises errors of `GARBAGE` for invalid values."""
    stage = _STAGES.index(seen.state.stage) if seen.state.stage in _STAGES else 0
    for time in (seen.changed_at, seen.settled_at):
        moment(time)
    times = (seen.changed_at, seen.settled_at, seen.freshness_s)
    changed, settled, fresh = (np.nan if time is None else float(time) for time in times)
    return (
        _KINDS[seen.state.word, seen.state.stale],
        stage,
        seen.chunk_count,
        changed,
        settled,
        fresh,
    )


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _known(time: float) -> float | None:
    return None if np.isnan(time) else time
