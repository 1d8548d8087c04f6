"""The person of a chaos run: edits, moves, deletes and recreates files of a folder, by a seed."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

PER_FOLDER = 20
MOST_RENAMED = 5
"""One folder of so many is renamed in a run."""
PINNED = "pinned"
POISON = "poison"
WORDS = [f"{a}{b}" for a in ("har", "lan", "or", "gra", "vio") for b in ("bour", "tern", "chard")]


@dataclass(frozen=True)
class Doc:
    """A document as the author means it to be. `parts`: seeds of its sections' texts."""

    number: int
    version: int
    parts: tuple[int, ...]
    extra: str = ""
    """A word that does harm to the model, or nothing."""

    @property
    def always(self) -> str:
        """A word that every version of this document holds, and no other document."""
        return f"always{self.number:06}"

    @property
    def word(self) -> str:
        """A word that this version holds and no other."""
        return word_of(self.number, self.version)

    def text(self) -> str:
        head = f"# Document {self.number}\n\n## State\n\n{self.always} {self.word} {self.extra}\n"
        return head + "".join(f"\n## Part {seed % 997}\n\n{body(seed)}\n" for seed in self.parts)


def word_of(number: int, version: int) -> str:
    return f"v{number:06}x{version:06}"


def body(seed: int) -> str:
    chance = random.Random(seed)
    return " ".join(chance.choices(WORDS, k=chance.randint(5, 40))) + "."


@dataclass
class Author:
    """Writes below `root`. `docs`: what is there, by path; `gone`: words that nobody may find."""

    root: Path
    seed: int
    documents: int
    poison: int
    docs: dict[str, Doc] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    poisoned: set[str] = field(default_factory=set)
    """Every path that ever held poison."""
    refused: set[str] = field(default_factory=set)
    """Paths that hold no text at the moment."""
    touched: dict[str, float] = field(default_factory=dict)
    """When something last happened to a path, whether it is still there or not; monotonic."""

    def __post_init__(self) -> None:
        self.chance = random.Random(f"author {self.seed}")
        self._numbers = 0
        self._folders = max(2, self.documents // PER_FOLDER)
        self._deleted: list[str] = []

    # -- what a run calls --------------------------------------------------------------------------

    def begin(self) -> None:
        """Write all documents for the first time."""
        for n in range(self.documents):
            pinned = n < min(20, self.documents // 5)
            folder = PINNED if pinned else f"f{self.chance.randrange(self._folders):04}"
            self._write(f"{folder}/d{n:06}.md", self._fresh())
        words = ["faultrefuse"] * max(0, self.poison - 1) + ["faultkill"] * min(1, self.poison)
        for n, word in enumerate(words):
            path = f"{POISON}/p{n:03}.md"
            self.poisoned.add(path)
            self._write(path, replace(self._fresh(), extra=word))

    def act(self) -> None:
        """Do one thing."""
        kinds = {
            self.edit: 40,
            self.edit_pinned: 10,
            self.burst: 4,
            self.edit_same_size: 6,
            self.move: 10,
            self.delete: 8,
            self.recreate: 8,
            self.rename_folder: 1,
            self.refuse: 2,
        }
        self.chance.choices(list(kinds), list(kinds.values()))[0]()

    def sign_off(self) -> str:
        """Leave nothing that is refused: what is served instead depends on who was how fast.

        Returns:
            The path of the last change of all: once it is known, so is everything before it.
        """
        for path in sorted(self.refused):
            self._change(path, in_place=True)
        self._write("sentinel.md", self._fresh())
        return "sentinel.md"

    @property
    def healthy(self) -> dict[str, Doc]:
        """What the index must hold in the end."""
        return {path: doc for path, doc in self.docs.items() if not doc.extra}

    # -- what can be done --------------------------------------------------------------------------

    def edit(self) -> None:
        self._change(self._any(), in_place=self.chance.random() < 0.5)

    def edit_pinned(self) -> None:
        self._change(self._any(PINNED), in_place=self.chance.random() < 0.5)

    def burst(self) -> None:
        path = self._any()
        for _ in range(self.chance.randint(5, 15)):
            self._change(path, in_place=True)

    def edit_same_size(self) -> None:
        """Other content of the same length, and the old time of modification."""
        path = self._any()
        doc = self.docs[path]
        before = (self.root / path).stat()
        self._write(path, replace(doc, version=doc.version + 1), in_place=True)
        os.utime(self.root / path, ns=(before.st_atime_ns, before.st_mtime_ns))
        self._touch(path)
        self.gone.append(doc.word)
        self.counts["edits"] += 1

    def move(self) -> None:
        path = self._any()
        folder = f"f{self.chance.randrange(self._folders):04}"
        self._move(path, f"{folder}/m{self.counts['moves']:06}-{path.rpartition('/')[2][-10:]}")
        self.counts["moves"] += 1

    def delete(self) -> None:
        if len(self.docs) < self.documents * 0.8:
            self.recreate()
            return
        path = self._any()
        (self.root / path).unlink()
        self._touch(path)
        self._deleted.append(path)
        self.refused.discard(path)
        self.gone.append(self.docs.pop(path).word)
        self.counts["deletions"] += 1

    def recreate(self) -> None:
        """A deleted file comes back with other content; a new one, where none was deleted."""
        free = [path for path in self._deleted if path not in self.docs]
        self._deleted = free
        if free:
            path = free.pop(self.chance.randrange(len(free)))
            self.counts["recreations"] += 1
        else:
            path = f"f{self.chance.randrange(self._folders):04}/n{self._numbers:06}.md"
        self._write(path, self._fresh())

    def rename_folder(self) -> None:
        """Seldom: a listing in which most documents have vanished would rightly be held."""
        if self.counts["folder renames"] >= self._folders // MOST_RENAMED:
            self.edit()
            return
        folders = sorted({p.split("/")[0] for p in self.docs} - {PINNED, POISON})
        old, new = self.chance.choice(folders), f"r{self.counts['folder renames']:05}"
        (self.root / old).rename(self.root / new)
        for path in [p for p in self.docs if p.startswith(f"{old}/")]:
            self._moved(path, new + path.removeprefix(old))
        self.counts["folder renames"] += 1

    def refuse(self) -> None:
        path = self._any()
        (self.root / path).write_bytes(b"\x00\x01\x02" * 100)
        self._touch(path)
        self.gone.append(self.docs[path].word)
        self.refused.add(path)
        self.counts["refusals"] += 1

    # -- inside ------------------------------------------------------------------------------------

    def _any(self, folder: str = "") -> str:
        """A document in a folder, or in any where documents come and go."""
        while True:
            path = self.chance.choice(list(self.docs)) if not folder else self._of(folder)
            if folder or path.split("/")[0] not in (PINNED, POISON):
                return path

    def _of(self, folder: str) -> str:
        return self.chance.choice([p for p in self.docs if p.startswith(f"{folder}/")])

    def _fresh(self) -> Doc:
        self._numbers += 1
        self.counts["documents"] += 1
        parts = tuple(self.chance.getrandbits(32) for _ in range(self.chance.randint(0, 4)))
        return Doc(self._numbers, 1, parts)

    def _change(self, path: str, *, in_place: bool) -> None:
        doc = self.docs[path]
        parts = list(doc.parts)
        match self.chance.randrange(4):
            case 0 if parts:
                parts[self.chance.randrange(len(parts))] = self.chance.getrandbits(32)
            case 1 if len(parts) < 6:
                parts.insert(self.chance.randint(0, len(parts)), self.chance.getrandbits(32))
            case 2 if parts:
                parts.pop(self.chance.randrange(len(parts)))
            case _:
                self.chance.shuffle(parts)
        self.gone.append(doc.word)
        self.refused.discard(path)
        self._write(path, replace(doc, version=doc.version + 1, parts=tuple(parts)), in_place)
        self.counts["edits"] += 1

    def _write(self, path: str, doc: Doc, in_place: bool = False) -> None:
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        if in_place:
            full.write_text(doc.text())
        else:
            made = full.with_name(f".{full.name}.tmp")
            made.write_text(doc.text())
            made.replace(full)
        self._touch(path)
        self.docs[path] = doc
        self.refused.discard(path)

    def _move(self, old: str, new: str) -> None:
        (self.root / new).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self.root / old, self.root / new)
        self._moved(old, new)

    def _moved(self, old: str, new: str) -> None:
        self._touch(old, new)
        self.docs[new] = self.docs.pop(old)
        self._deleted.append(old)
        if old in self.refused:
            self.refused.discard(old)
            self.refused.add(new)

    def _touch(self, *paths: str) -> None:
        self.touched |= dict.fromkeys(paths, time.monotonic())
