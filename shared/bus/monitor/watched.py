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
"""After so long without an update, it counts as an unwatched source."""
PROBLEMS_TOLD: Final = 50
MOST_BYTES: Final = 256 * 1024
"""Of a published state: a path may be long, and odd bytes in it are escaped."""


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
    more: int = 0
    """Number of problems beyond those."""
    left: bool = False
    """An earlier process watched it, and none of the running ones does."""
    began: float = 0.0
    """Unix time at which its process began to watch."""
    ended: bool = False
    """Its process has stopped, and no other one has begun since."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Files that are no documents, by ending."""
    path: str = ""
    """Of the folder, absolute; a process of an earlier version does not tell it."""
    kind: str = "folder"
    """As in the settings; a process of an earlier version does not tell it."""
    same_as: str = ""
    """Another source that had all of its documents when that was last listed for the first time by
    a process; only of a source that is not given any more."""
    heard: bool = False
    """Its process hears `shared.bus.monitor.watchers.HERE`; one of an earlier version does not."""

    def encode(self) -> bytes:
        """JSON of at most MOST_BYTES, with as many of the problems as fit."""
        raw = asdict(self)
        if self.hold is not None:
            raw["hold"]["since"] = self.hold.since.isoformat()
        while len(data := json.dumps(raw).encode()) > MOST_BYTES and raw["problems"]:
            problems = list(raw["problems"].items())
            raw["problems"] = dict(problems[: len(problems) // 2])
            raw["more"] += len(problems) - len(raw["problems"])
        return data

    def says_the_same(self, other: "Watched | None") -> bool:
        """Whether only the time differs."""
        return other is not None and replace(other, at=self.at) == self

    def is_silent(self, now: float) -> bool:
        """Whether its last update is too old."""
        # the other clock may be ahead, but not by a day: such a time is invalid
        return not -FORGOTTEN_S <= now - self.at <= SILENT_S

    def health(self, now: float) -> SourceHealth:
        """Its faults, including the end or silence of its process."""
        silent = "the process that watches it is silent" if self.is_silent(now) else ""
        absent = "no process watches it" if self.ended else silent
        return SourceHealth(
            self.error or absent,
            dict(self.problems),
            self.more,
            dict(self.left_out),
            self.kind,
            self.path,
        )


def remembered(
    told: Iterable[Watched], now: float, expected: Collection[str] = ()
) -> list[Watched]:
    """Sources that a process watches, or should, by name. `expected`: by the settings."""
    known = {one.source: one for one in told if not (one.left or now - one.at > FORGOTTEN_S)}
    missing = {name: unwatched(name, now) for name in expected if name not in known}
    return [one for _, one in sorted((known | missing).items())]


def not_given(told: Iterable[Watched], now: float, expected: Collection[str] = ()) -> list[Watched]:
    """Folders that an earlier process watched and no process is given now, by name."""
    past = (one for one in told if one.left or now - one.at > FORGOTTEN_S)
    return sorted((one for one in past if one.source not in expected), key=lambda one: one.source)


def unwatched(source: str, now: float) -> Watched:
    """In place of a missing note."""
    return Watched(source, now, listed=False, error="no process watches it")


def garbled(source: str, now: float) -> Watched:
    """In place of an unreadable note; the process that watches the source writes another one within
    `TOLD_EVERY_S`."""
    return Watched(source, now, listed=False, error="its process's state cannot be read")


def decode(data: bytes) -> Watched | None:
    """None if it is unreadable."""
    try:
        raw = json.loads(data)
        return Watched(
            source=str(raw["source"]),
            at=float(raw["at"]),
            listed=bool(raw["listed"]),
            error=str(raw["error"]),
            problems={str(path): str(what) for path, what in raw["problems"].items()},
            hold=_hold(raw["hold"]),
            more=int(raw.get("more", 0)),
            left=bool(raw.get("left", False)),
            began=float(raw.get("began", 0.0)),
            ended=bool(raw.get("ended", False)),
            left_out={str(name): int(n) for name, n in raw.get("left_out", {}).items()},
            path=str(raw.get("path", "")),
            kind=str(raw.get("kind", "folder")),
            same_as=str(raw.get("same_as", "")),
            heard=bool(raw.get("heard", False)),
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


def all_listed(told: Iterable[Watched], now: float) -> bool:
    """Whether every folder that a process watches now has been listed."""
    return all(one.listed or one.ended or one.is_silent(now) for one in told)
