"""Vanished documents whose content is still in the folder, or nearly the same content.

A version control system renames files by making others, and people edit what they rename. So the
identity of a file, and an equal content, are not enough to tell a move from a loss.
"""

import asyncio
import contextlib
import math
import re
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from services.producer.sources.listing import Seen, pair_moves
from services.producer.sources.listing_store import LATELY_S
from services.producer.sources.port import DocumentSource, Version
from shared.domain.errors import InstepError
from shared.domain.events import Inline, Stored
from shared.domain.ids import doc_key
from shared.ports import ChangeLog, ContentStore

WORDS: Final = 3
"""A text is compared by its runs of so many words."""
KEPT: Final = 128
"""Runs of a text that are kept: those with the lowest digests, so of two texts the same ones."""
COMMON: Final = 10
"""A run that more texts have says nothing, as those of a template."""
ALIKE: Final = 0.5
"""Two texts are nearly the same if they share so many of the runs that either has."""
TRIED: Final = 5
"""Texts that one is compared with: those that share most runs with it."""
MOST_BYTES: Final = 1024**2
"""Of a text, from its beginning."""
AT_ONCE: Final = 16

Sketch = frozenset[int]

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]{1,12}")
"""A character of a script that has no spaces, or a word, of which twelve characters are enough."""


def sketch(data: bytes) -> Sketch:
    """The digests of some runs of words, the same ones of two texts that share them."""
    words = _WORD.findall(data[:MOST_BYTES].decode(errors="replace"))
    runs = zip(*(words[n:] for n in range(min(WORDS, len(words)))), strict=False)
    return frozenset(sorted({zlib.crc32(" ".join(run).encode()) for run in runs})[:KEPT])


def likeness(one: Sketch, other: Sketch, common: Collection[int] = ()) -> float:
    """The share of the runs of either text that both have, by their sketches; 0 to 1."""
    full = [max(runs) for runs in (one, other) if len(runs) == KEPT]
    limit = min(full, default=math.inf)  # beyond it a sketch does not know
    either = {run for run in one | other if run <= limit and run not in common}
    return len(one & other & either) / len(either) if either else 0.0


def pair_alike(gone: Mapping[str, Sketch], there: Mapping[str, Sketch]) -> dict[str, str]:
    """Pairs of texts that are nearly the same, each text in one pair at most."""
    counts = Counter(run for runs in (*gone.values(), *there.values()) for run in runs)
    common = {run for run, count in counts.items() if count > COMMON}
    having = defaultdict[int, list[str]](list)
    for path, runs in there.items():
        for run in runs - common:
            having[run].append(path)
    scored = list[tuple[float, str, str]]()
    for path, runs in gone.items():
        shared = Counter(other for run in runs - common for other in having.get(run, ()))
        for other, _ in shared.most_common(TRIED):
            score = likeness(runs, there[other], common)
            if score >= ALIKE:
                scored.append((-score, path, other))
    pairs, taken = dict[str, str](), set[str]()
    for _, path, other in sorted(scored):
        if path not in pairs and other not in taken:
            pairs[path] = other
            taken.add(other)
    return pairs


class Text(NamedTuple):
    """A document's content, as far as it is compared."""

    content_hash: str
    sketch: Sketch


ENDED: Final = Text("", frozenset())
"""In place of a document that has ended in DOCS already."""


@dataclass(slots=True)
class Moves:
    """Tells moves of one source; reads old contents in DOCS and new ones in the folder.

    It keeps what it read while the same removals wait.
    """

    source: str
    place: DocumentSource
    changes: ChangeLog
    bodies: ContentStore
    _old: dict[str, Text | None] = field(default_factory=dict)
    _new: dict[str, tuple[Version, Text | None]] = field(default_factory=dict)
    pairs: dict[str, str] = field(default_factory=dict)
    """Documents, and the files that stand for them; each file stands for one."""
    _asked: object = None
    _told: frozenset[str] = frozenset()
    _told_at: float = -math.inf

    async def __call__(
        self,
        lost: Collection[str],
        entries: Mapping[str, Seen],
        files: Mapping[str, Version],
        *,
        since_ns: int,
    ) -> frozenset[str]:
        """Those of the vanished paths whose document is at another path now, or has ended.

        Args:
            entries: the listing as it was; it has the lost paths.
            files: all files of the folder now.
            since_ns: since then files vanish. A file that was read before was there all the time,
                and stands for no other.

        Raises:
            BusUnavailable: nothing is known.
        """
        begin = since_ns - int(LATELY_S * 1e9)
        taken = {file for path, file in self.pairs.items() if path not in lost}
        fresh = {
            path: stat
            for path, stat in files.items()
            if path not in taken
            and ((seen := entries.get(path)) is None or seen.read_at_ns >= begin)
        }
        asked, now = (frozenset(lost), frozenset(fresh.items())), time.monotonic()
        if asked == self._asked and now < self._told_at + LATELY_S:
            return self._told
        self._old = {}
        await each((self._read_old(path) for path in lost), AT_ONCE)
        self._new = {p: read for p, read in self._new.items() if fresh.get(p) == read[0]}
        unread = [path for path in fresh if path not in self._new]
        await each((self._read_new(path, fresh[path]) for path in unread), AT_ONCE)
        self._told = self._tell(fresh)
        self._asked, self._told_at = asked, now
        return self._told

    def done(self) -> None:
        """No removal waits: forget everything."""
        self._old, self._new, self.pairs, self._asked = {}, {}, {}, None

    def _tell(self, fresh: Collection[str]) -> frozenset[str]:
        old = {path: text for path, text in self._old.items() if text is not None}
        new = {p: text for p in fresh if (read := self._new.get(p)) and (text := read[1])}
        ended = {path for path, text in old.items() if text is ENDED}
        pairs = dict(
            pair_moves(
                {path: text.content_hash for path, text in old.items() if path not in ended},
                {path: text.content_hash for path, text in new.items()},
            )
        )
        taken = set(pairs.values())
        pairs |= pair_alike(
            {p: text.sketch for p, text in old.items() if p not in pairs and p not in ended},
            {p: text.sketch for p, text in new.items() if p not in taken},
        )
        self.pairs |= pairs
        return frozenset(pairs) | ended

    async def _read_old(self, path: str) -> None:
        newest = await self.changes.newest(self.source, doc_key(self.source, path))
        change = newest.readable if newest else None
        if change is None or change.op == "deleted":
            self._old[path] = ENDED if change else None
            return
        data = b""
        match change.content:
            case Inline() as inline:
                data = inline.bytes()
            case Stored(hash=name):
                with contextlib.suppress(KeyError):
                    data = await self.bodies.get(name)
            case _:
                pass
        runs = await asyncio.to_thread(sketch, data)
        self._old[path] = Text(change.content_hash or "", runs)

    async def _read_new(self, path: str, stat: Version) -> None:
        try:
            body = await asyncio.to_thread(self.place.read, path)
        except InstepError:
            return  # the next listing reads it
        if body is not None and body.data is not None:
            text = Text(body.content_hash, await asyncio.to_thread(sketch, body.data))
            self._new[path] = stat, text


async def each(calls: Iterator[Coroutine[Any, Any, None]], at_once: int) -> None:
    """Await all of them, so many at a time. Raises the first error."""

    async def some() -> None:
        for call in calls:
            await call

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(some())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
