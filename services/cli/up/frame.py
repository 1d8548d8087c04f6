"""The live view of `up` as plain lines: progress, rate and remaining time.

Pure: counters and times in, text out.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from services.cli.terminal import number, plural, seconds, shorten, shorten_path, visible
from services.cli.text.status import wrap
from shared.observe.progress import Activity, Progress

MEMORY_S: Final = 60.0
"""The seconds of recent work that the pace is estimated from."""
FIRST_S: Final = 5.0
"""The seconds of work before the first estimate."""
LOOK_S: Final = 10.0
"""The seconds over which the growth of the total is compared with the work done."""
GROWTH: Final = 0.25
"""While the total grows by more than this share of the work done, there is no estimate."""


@dataclass(slots=True)
class Estimate:
    """The pace of work, learned piece by piece, and the time that is left.

    A pause of the machine counts once, as a part of the work: a stall of s seconds makes the
    estimate longer by a factor of 1 + s / h at most, h being the seconds of work that it rests on,
    `MEMORY_S` at most.
    """

    _pace_s: float = 0.0
    """Seconds a piece."""
    _worked: int = 0
    _worked_s: float = 0.0
    _done: int | None = None
    _since: float | None = None
    """When the last piece was done; None before the first, which may wait for the model."""
    _seen: deque[tuple[float, int, int]] = field(default_factory=deque)
    """Moments of the last `LOOK_S`: time, pieces done, pieces in all."""

    def add(self, at: float, done: int, total: int) -> None:
        """Note the pieces done and the total at a moment; times never go back."""
        self._seen.append((at, done, total))
        while self._seen[0][0] < at - LOOK_S:
            self._seen.popleft()
        if self._done is None:
            self._done = done
        if done > self._done:
            if self._since is not None:
                self._learn(done - self._done, at - self._since)
            self._since, self._done = at, done
        elif self._since is not None and total <= done:
            self._since = at  # all is done

    def rate(self) -> float | None:
        """Pieces per second; None before the first estimate."""
        pace_s = self._current_pace_s()
        return 1 / pace_s if pace_s else None

    def left_s(self) -> float | None:
        """Seconds until all is done; None without an estimate."""
        if not self._seen:
            return None
        _, done, total = self._seen[-1]
        if total <= done:
            return 0.0
        pace_s = self._current_pace_s()
        return (total - done) * pace_s if pace_s and self._is_steady() else None

    def _learn(self, pieces: int, took_s: float) -> None:
        self._worked += pieces
        self._worked_s += took_s
        if self._worked_s <= MEMORY_S:
            self._pace_s = self._worked_s / self._worked
        else:
            weight = -math.expm1(-pieces * self._pace_s / MEMORY_S)
            self._pace_s += weight * (took_s / pieces - self._pace_s)

    def _current_pace_s(self) -> float | None:
        """The pace, with the time since the last piece as the least that the next one takes."""
        if self._since is None or self._worked_s < FIRST_S:
            return None
        waited_s = self._seen[-1][0] - self._since
        return self._pace_s * (1 + waited_s / min(self._worked_s, MEMORY_S))

    def _is_steady(self) -> bool:
        (_, done_then, total_then), (_, done, total) = self._seen[0], self._seen[-1]
        return total - total_then <= GROWTH * (done - done_then)


def describe(left_s: float | None) -> str:
    """`about 30 s left`, `about 6 min left`; empty without an estimate.

    As coarse as an estimate is: to 5 s, a minute, 5 minutes, half an hour.
    """
    if left_s is None:
        return ""
    if left_s < 3:
        return "a moment left"
    if left_s < 57:
        return f"about {_rounded(left_s, 5)} s left"
    if left_s < 10 * 60:
        return f"about {_rounded(left_s / 60, 1)} min left"
    if left_s < 87 * 60:
        return f"about {_rounded(left_s / 60, 5)} min left"
    return f"about {_rounded(2 * left_s / 3600, 1) / 2:g} h left"


def _rounded(value: float, to: int) -> int:
    return to * max(1, round(value / to))


BAR: Final = 22
INDENT: Final = "       "
KINDS: Final[Mapping[str, str]] = {
    "changed": "",
    "moved": "",
    "removed": "",
    "refused": "yellow",
    "failed": "red",
    "held": "red",
    "notice": "cyan",
}
"""Kinds of news and their colours."""
URGENT: Final = frozenset({"held", "notice"})
"""News that is shown while folders are still being listed."""


def first_line(version: str, data: str, typed: Sequence[str], width: int) -> str:
    """The first line, printed before the imports."""
    parts = [f"instep {version}", f"data {shorten_path(data, 30)}"]
    if typed:
        parts.append(shorten(visible(", ".join(typed)), 30))
    return wrap([*parts, "Ctrl-C stops"], width)


def ready_line(url: str | None, model: str, device: str, width: int) -> str:
    """The address of the gateway, and the model."""
    where = f"answers at {url}" if url else ""
    what = f"{model} on {device}" if device else model
    return wrap([part for part in (where, what) if part], width)


def frame(label: str, progress: Progress, estimate: Estimate, width: int) -> list[str]:
    """The counters, and a bar while there are chunks to embed."""
    name = f"{shorten(label, 20):<6}"
    if not (progress.found or progress.changes_known or progress.listed):
        return [f"{name}   looking for changes"]
    parts = [name, f"found {progress.found:,}"]
    if progress.unchanged:
        parts.append(f"unchanged {progress.unchanged:,}")
    if progress.rows_known:
        parts.append(f"embedded {progress.rows_embedded:,} of {progress.rows_known:,} chunks")
    if progress.changes_known:
        parts.append(f"searchable {progress.indexed:,} of {progress.changes_known:,}")
    others = {word: getattr(progress, word) for word in ("removed", "refused", "failed")}
    parts += [f"{word} {count:,}" for word, count in others.items() if count]
    lines = wrap(parts, width - len(INDENT)).split("\n")
    lines = [lines[0], *(f"{INDENT}{line}" for line in lines[1:])]
    if progress.rows_known > progress.rows_written:
        lines.append(shorten(_bar(progress, estimate), width))
    return lines


def in_step_line(summary: Mapping[str, Any]) -> str:
    """`in step after 47.2 s: 1,202 documents, 9,876 chunks searchable; 2 refused (…)`."""
    documents, chunks = summary["documents"], summary["chunks"]
    found = plural(documents.get("searchable", 0), "document")
    rows = plural(chunks.get("searchable", 0), "chunk")
    word = "in step" if summary["in_step"] else "not in step"
    text = f"{word} after {seconds(summary['elapsed_s'])}: {found}, {rows} searchable"
    bad = [f"{documents[name]:,} {name}" for name in ("refused", "failed") if documents.get(name)]
    if bad:
        text += f"; {', '.join(bad)} (instep failures)"
    if documents.get("held"):
        text += f"; {documents['held']:,} removals held (instep removals)"
    if summary.get("problem_count"):
        text += f"; {plural(summary['problem_count'], 'path')} cannot be read or named"
    return text


def news(activity: Activity, at: str, width: int) -> str:
    """`12:03:07  changed  guide/install.md   1 of 14 chunks embedded   searchable in 0.6 s`."""
    activity = replace(activity, path=visible(activity.path), detail=visible(activity.detail))
    kind = "HELD" if activity.kind == "held" else activity.kind
    head = f"{at}  {kind:<8} "
    if activity.kind == "moved" and activity.detail:
        return head + shorten(activity.detail, max(40, width - len(head)))
    tail = [activity.detail] if activity.detail and activity.kind != "removed" else []
    if activity.seconds is not None:
        word = "searchable in " if activity.kind == "changed" else ""
        tail.append(f"{word}{seconds(activity.seconds)}")
    rest = "   ".join(tail)
    if not activity.path:
        return head + rest
    if not rest:
        return head + shorten_path(activity.path, max(24, width - len(head)))
    room = width - len(head) - len(rest) - 3
    path = shorten_path(activity.path, max(24, min(room, 48)))
    return f"{head}{path:<{max(0, min(26, room))}}   {rest}"


def exit_needs_you(summary: Mapping[str, Any], *, strict: bool) -> bool:
    """Whether `--once` ends with status 1: not in step, failures, paths that cannot be read, or
    strict and refusals."""
    documents = summary["documents"]
    bad = not summary["in_step"] or documents.get("failed", 0) or summary.get("problem_count", 0)
    return bool(bad or (strict and documents.get("refused", 0)))


def _bar(progress: Progress, estimate: Estimate) -> str:
    share = progress.rows_written / max(1, progress.rows_known)
    filled = min(BAR - 1, int(share * BAR))
    bar = "#" * filled + "-" * (BAR - filled)
    parts = [f"{INDENT}[{bar}] {int(share * 100):>3} %"]
    rate = estimate.rate()
    if rate:
        parts.append(f"{number(rate)} chunks/s")
    parts.append(describe(estimate.left_s()))
    return "   ".join(part for part in parts if part)


@dataclass(slots=True)
class Throttle:
    """Lets so many lines through each second, and counts the others. Pure: time is passed in."""

    most: int = 20
    _second: int = -1
    _let: int = 0
    _held_back: int = 0

    def passes(self, now: float) -> bool:
        """Whether a line may be printed now."""
        if int(now) != self._second:
            self._second, self._let = int(now), 0
        if self._let < self.most and not self._held_back:
            self._let += 1
            return True
        self._held_back += 1
        return False

    def missed(self, now: float) -> int:
        """Lines held back, once the second is over; then forgotten."""
        if not self._held_back or int(now) == self._second:
            return 0
        count, self._held_back = self._held_back, 0
        return count
