"""The changes of a soak: edits at a fixed rate, now and then a move, another file, a large one."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from edit import paragraphs

LATE_S = 30.0
MOVE_EVERY, REPLACE_EVERY, LARGE_EVERY = 20, 25, 60
LARGE = "a-large-one.md"
LARGE_PARAGRAPHS = 2_400
"""About 300 KB: more than an event carries."""


@dataclass
class Changes:
    """What was done to the folder, and how long it took until search told it."""

    folder: Path
    rate: float
    chance: random.Random = field(default_factory=lambda: random.Random(11))
    waiting: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Path to the moment of its change, and the word that only the new text has."""
    took: list[tuple[float, float]] = field(default_factory=list)
    """Moment of the event, seconds since the change."""
    findable: dict[str, str] = field(default_factory=dict)
    done: int = 0
    large: int = 0
    paths_ever: int = 0
    late: int = 0

    def __post_init__(self) -> None:
        self.files = [
            path
            for path in sorted(self.folder.rglob("*.md"))
            if path.name != LARGE and len(paragraphs(path.read_text(errors="replace"))) > 1
        ]
        self.paths_ever = sum(path.is_file() for path in self.folder.rglob("*"))

    async def run(self) -> None:
        """A change every 1/rate seconds; one that comes late does not make the next one later."""
        due = time.monotonic()
        while True:
            await asyncio.to_thread(self._change)
            self.done += 1
            due += 1 / self.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _change(self) -> None:
        at = self.chance.randrange(len(self.files))
        large = self.done % LARGE_EVERY == LARGE_EVERY - 2
        file = self.folder / LARGE if large else self.files[at]
        if self._path(file) in self.waiting:
            return
        if large:
            self._write(file, file.read_text())
            self.large += 1
            return
        if self.done % REPLACE_EVERY == REPLACE_EVERY - 1:
            fresh = file.with_name(f"new-{self.done}.md")
            self._write(fresh, file.read_text())
            file.unlink()
        elif self.done % MOVE_EVERY == MOVE_EVERY - 1:
            fresh = file.with_name(f"moved-{self.done}.md")
            self.waiting[self._path(fresh)] = time.monotonic(), ""
            file.rename(fresh)
        else:
            self._write(file, file.read_text())
            return
        self.findable.pop(self._path(file), None)
        self.files[at] = fresh
        self.paths_ever += 1

    def _write(self, file: Path, text: str) -> None:
        blocks = text.split("\n\n")
        word = f"quux{self.done}zyx{self.chance.randrange(10**6)}"
        at = self.chance.choice(paragraphs(text))
        blocks[at] = f"This paragraph was written anew and names {word}, which nothing else does."
        self.findable.pop(self._path(file), None)
        self.waiting[self._path(file)] = time.monotonic(), word
        file.write_text("\n\n".join(blocks))

    def _path(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()

    def indexed(self, path: str) -> None:
        if path in self.waiting:
            since, word = self.waiting.pop(path)
            now = time.monotonic()
            self.took.append((now, now - since))
            self.late += now - since > LATE_S
            if word:
                self.findable[path] = word

    def overdue(self) -> int:
        now = time.monotonic()
        return sum(now - since > LATE_S for since, _ in self.waiting.values())


def write_large(folder: Path) -> None:
    """A document whose content lies among the bodies."""
    told = (
        f"Paragraph {n} of a long document speaks of {n * 7919} things, and then of {n * 104729}, "
        "so that no two are alike."
        for n in range(LARGE_PARAGRAPHS)
    )
    (folder / LARGE).write_text("# A large one\n\n" + "\n\n".join(told) + "\n")
