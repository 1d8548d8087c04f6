"""Text for people: colour, width, times, numbers. Colour alone never carries a meaning."""

import json
import re
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TextIO

CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}

_UNSEEN: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
"""Control characters, separators of lines, and marks of the direction of text."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """The stream for text, its width, and its use of colour."""

    width: int = 80
    color: bool = False

    @classmethod
    def of(cls, stream: TextIO, *, color: bool) -> "Terminal":
        """Colour only on a terminal; 100 columns elsewhere."""
        tty = stream.isatty()
        width = shutil.get_terminal_size((100, 24)).columns if tty else 100
        return cls(max(40, width), color and tty)

    def paint(self, text: str, style: str) -> str:
        """The text in a style of `CODES`."""
        return f"\x1b[{CODES[style]}m{text}\x1b[0m" if self.color and text else text


def print_json(body: Any) -> None:
    """One JSON value on standard output."""
    print(json.dumps(body, ensure_ascii=False, indent=2))


def note(text: str) -> None:
    """A line about the work, on standard error."""
    print(text, file=sys.stderr, flush=True)


def number(value: float | None) -> str:
    """`1,204`; a rate under 10 with one digit after the point."""
    if value is None:
        return "-"
    return f"{value:,.1f}" if isinstance(value, float) and abs(value) < 10 else f"{round(value):,}"


def seconds(value: float | None) -> str:
    """`0.62 s`, `47.2 s`, `4 min`, `2 h`, `3 d`."""
    if value is None:
        return "-"
    if value < 1:
        return f"{value:.2f} s"
    if value < 60:
        return f"{value:.1f} s"
    for size, unit in ((60, "min"), (3600, "h"), (86_400, "d")):
        if value < size * (60 if unit == "min" else 24) or unit == "d":
            return f"{value / size:.0f} {unit}"
    raise AssertionError  # the last unit takes everything


def clock(text: str | None, *, now: float | None = None, digits: int = 0) -> str:
    """A moment of the API as local time; with the date when it is not today."""
    if not text:
        return "-"
    moment = datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone()
    today = datetime.fromtimestamp(time.time() if now is None else now).astimezone().date()
    shown = moment.strftime("%H:%M:%S")
    if digits:
        shown += f".{moment.microsecond // 10 ** (6 - digits):0{digits}d}"
    return shown if moment.date() == today else f"{moment:%Y-%m-%d} {shown}"


def ago(text: str | None, now: float) -> str:
    """How long since a moment of the API."""
    if not text:
        return "-"
    moment = datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    return seconds(max(0.0, now - moment))


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), width: int = 0) -> list[str]:
    """Columns with two spaces between; those of `right` end at one line; the last is cut to fit."""
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(size) if i in right else cell.ljust(size)
            for i, (cell, size) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  ".join(cells).rstrip()
        lines.append(shorten(line, width) if width else line)
    return lines


def visible(text: str) -> str:
    """The text with control and direction characters spelt out."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def tame(text: str) -> str:
    """The text, as long as before, with a dot for every such character; tabs are kept."""
    return _UNSEEN.sub(lambda found: "\t" if found[0] == "\t" else "\u00b7", text)


def shorten(text: str, width: int) -> str:
    """The text, cut at the end to `width` characters."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def shorten_path(path: str, width: int) -> str:
    """The path as it can be shown, cut in the middle: its end tells most."""
    path = visible(path)
    if len(path) <= width:
        return path
    end = (width - 1) * 2 // 3
    return path[: width - 1 - end] + "…" + path[len(path) - end :]


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 document`, `2 documents`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
