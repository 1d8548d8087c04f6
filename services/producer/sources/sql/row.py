"""What a row is as a document: its text, what its columns tell about it, its version. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from services.producer.sources.port import Given, Version
from services.producer.sources.sql.keys import text_of
from shared.domain.events.base import Scalar

Row = Mapping[str, object]
SIZE: Final = "instep_size"
DIGEST: Final = "instep_digest"
"""Of the columns of the body; both are made by the server."""
NO_WATERMARK_NS: Final = 2**62
"""The time of a row without a watermark: never long ago, so the row is read at every listing."""
_WESTMOST: Final = timedelta(hours=12)
"""A time without a zone may be one of a place so far behind UTC; the row may have been edited again
with the same time until then."""
_DAY_CHARS: Final = len("2026-11-30")
_UNIX_S: Final = range(10**9, 5 * 10**9)
_FALSE: Final = frozenset({"", "0", "f", "false", "n", "no", "off"})


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column is what."""

    key: tuple[str, ...]
    body: tuple[str, ...]
    title: str | None
    metadata: tuple[str, ...]
    watermark: str | None
    static_score: str | None
    is_active: str | None
    body_type: str

    @property
    def told(self) -> tuple[str, ...]:
        """Columns that tell something beside the body."""
        named = (self.title, *self.metadata, self.static_score, self.is_active)
        return tuple(dict.fromkeys(name for name in named if name is not None))

    @property
    def all(self) -> tuple[str, ...]:
        mark = (self.watermark,) if self.watermark else ()
        return tuple(dict.fromkeys((*self.key, *self.told, *self.body, *mark)))

    @property
    def digest(self) -> str:
        """Another one where a row would be another document, though it has not changed."""
        said = (self.body, self.title, self.metadata, self.static_score, self.is_active)
        return hashlib.sha256(json.dumps([*said, self.body_type]).encode()).hexdigest()


def version_of(row: Row, columns: Columns, path: str) -> Version:
    """By the watermark alone where there is one: a row keeps its version while it keeps that.
    Else by all columns, without the key, so that a row with another key is known to be the same."""
    if columns.watermark is None:
        told = [text_of(row[name]) for name in columns.told]
        size = row[SIZE]
        whole = int(size) if isinstance(size, int | Decimal) else 0
        return Version(whole, 0, 0, _mark([columns.digest, text_of(row[DIGEST]), *told]))
    mark = row[columns.watermark]
    identity = _mark([columns.digest, path, text_of(mark)])
    return Version(0, NO_WATERMARK_NS if mark is None else _ns(mark), 0, identity)


def given_of(row: Row, columns: Columns) -> Given:
    """Raises ValueError: a score is no number."""
    metadata = {name: _scalar(row[name]) for name in columns.metadata}
    return Given(
        title=text_of(row[columns.title]) if columns.title else None,
        media_type=columns.body_type,
        metadata={name: value for name, value in metadata.items() if value is not None},
        static_score=_score(row[columns.static_score]) if columns.static_score else None,
        is_active=_is_true(row[columns.is_active]) if columns.is_active else True,
    )


def data_of(row: Row, columns: Columns) -> bytes:
    """The content: columns that are not empty, with an empty line between them."""
    parts = [_bytes(row[name]) for name in columns.body]
    return b"\n\n".join(part for part in parts if part)


def digest_of(*values: object) -> str:
    """Of the columns of a body, where the server itself has no such function."""
    found = hashlib.sha256()
    for value in values:
        part = b"" if value is None else b"=" + _bytes(value)
        found.update(len(part).to_bytes(8) + part)
    return found.hexdigest()


def size_of(*values: object) -> int:
    return sum(len(_bytes(value)) for value in values)


def changed(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Paths with another watermark than a moment ago."""
    return [path for path, mark in after.items() if before.get(path) != mark]


def place_of(text: str) -> tuple[int, int]:
    return _mark([text]), 0


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    return (text_of(value) or "").encode(errors="replace")


def _mark(parts: Sequence[str | None]) -> int:
    said = json.dumps(parts).encode()
    return int.from_bytes(hashlib.sha256(said).digest()[:8]) >> 1


def _ns(mark: object) -> int:
    """A time in ns since 1970, the latest that it can be; 0 for what is no time."""
    if isinstance(mark, str):
        try:
            at = datetime.fromisoformat(mark)
            mark = at if len(mark) > _DAY_CHARS else at.date()
        except ValueError:
            return 0
    match mark:
        case datetime():
            at = mark if mark.tzinfo else mark.replace(tzinfo=UTC) + _WESTMOST
            return max(0, int(at.timestamp() * 1e9))
        case date():
            return NO_WATERMARK_NS  # a day tells no two edits apart
        case int() if mark in _UNIX_S:
            return mark * 10**9
        case _:
            return 0


def _scalar(value: object) -> Scalar:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if value - value == 0 else None
        case Decimal():
            return _scalar(int(value) if value == value.to_integral_value() else float(value))
        case _:
            return text_of(value)


def _score(value: object) -> float | None:
    return None if value is None else float(str(value))


def _is_true(value: object) -> bool:
    if isinstance(value, str):
        return value.strip().lower() not in _FALSE
    return bool(value)
