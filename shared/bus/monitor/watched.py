"""The published state of a watched folder. Pure."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from shared.domain.errors import GARBAGE
from shared.observe.progress import SourceHealth
from shared.ports import Hold

TOLD_EVERY_S: Final = 20.0
"""How often it is published though nothing has changed."""
SILENT_S: Final = 65.0
"""After so long without an update, the changes in the folder are not known."""
FORGOTTEN_S: Final = 86_400.0
"""After so long it counts as a source that no process watches any more."""
PROBLEMS_TOLD: Final = 50
MOST_BYTES: Final = 256 * 1024
"""Of the published problems: a path may be long, and odd bytes in it are spelt out."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One source, as its process saw it at `at` (Unix time)."""

    source: str
    at: float
    listed: bool
    """The whole folder has been listed since the process started."""
    error: str = ""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Path to its fault; at most PROBLEMS_TOLD."""
    hold: Hold | None = None

    def encode(self) -> bytes:
        """JSON of at most MOST_BYTES, with as many of the problems as that has room for."""
        raw = asdict(self)
        if self.hold is not None:
            raw["hold"]["since"] = self.hold.since.isoformat()
        while len(data := json.dumps(raw).encode()) > MOST_BYTES and raw["problems"]:
            problems = list(raw["problems"].items())
            raw["problems"] = dict(problems[: len(problems) // 2])
        return data

    def says_the_same(self, other: "Watched | None") -> bool:
        """Whether only the time differs."""
        return other is not None and replace(other, at=self.at) == self

    def health(self, now: float) -> SourceHealth:
        """Its faults, including the silence of its process."""
        # the other clock may be ahead, but not by a day: such a time is none
        speaks = -FORGOTTEN_S <= now - self.at <= SILENT_S
        silent = "" if speaks else "the process that watches it is silent"
        return SourceHealth(self.error or silent, dict(self.problems))


def remembered(told: Iterable[Watched], now: float) -> list[Watched]:
    """Those that a process watches, or should, by name."""
    known = (one for one in told if not now - one.at > FORGOTTEN_S)
    return sorted(known, key=lambda one: one.source)


def garbled(source: str, now: float) -> Watched:
    """In place of a note that cannot be read; the process that watches the source writes another
    one within `TOLD_EVERY_S`."""
    return Watched(source, now, listed=False, error="its process's state cannot be read")


def decode(data: bytes) -> Watched | None:
    """None if it cannot be read."""
    try:
        raw = json.loads(data)
        return Watched(
            source=str(raw["source"]),
            at=float(raw["at"]),
            listed=bool(raw["listed"]),
            error=str(raw["error"]),
            problems={str(path): str(what) for path, what in raw["problems"].items()},
            hold=_hold(raw["hold"]),
        )
    except GARBAGE:
        return None


def _hold(raw: Any) -> Hold | None:
    if raw is None:
        return None
    return Hold(
        source=str(raw["source"]),
        since=datetime.fromisoformat(raw["since"]),
        vanished=int(raw["vanished"]),
        of=int(raw["of"]),
        sample=tuple(map(str, raw["sample"])),
        kept=bool(raw["kept"]),
        released=bool(raw.get("released", False)),
    )


def all_listed(told: Collection[Watched], now: float) -> bool:
    """Whether every folder has been listed, and can be: else its changes are not known."""
    return all(one.listed and not one.health(now).error for one in told)
