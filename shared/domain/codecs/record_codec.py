"""The ledger record as the bytes of a KV value. Pure: no I/O, no clock."""

import json
import math
from base64 import b32decode, b32encode, b64decode, b64encode
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar, get_args

from shared.domain.errors import GARBAGE
from shared.domain.ordering import (
    MAX_ROWS,
    Failed,
    Outcome,
    Pending,
    Reason,
    Record,
    RowRef,
    Settled,
)

T = TypeVar("T")

SCHEMA: Final = 1
_OUTCOMES: Final = {outcome: outcome for outcome in get_args(Outcome)}
_FIRST_S: Final = -62_135_596_800.0
_LAST_S: Final = 253_402_300_799.0
"""Unix times of the first and the last second that a datetime can show, in UTC."""
_OFFSET_S: Final = 86_400.0
"""A datetime with an offset lies less than this beyond them."""
KEYS_REMEMBERED: Final = 2 * MAX_ROWS
"""The record of a large document is read and written once for each of its parts."""


def to_bytes(record: Record) -> bytes:
    """JSON; rows as one base64 block of 16-byte keys, about 24 bytes a row."""
    settled, pending, failed = record.settled, record.pending, record.failed
    out: dict[str, Any] = {"schema": SCHEMA, "source": record.source, "path": record.path}
    if record.version is not None:
        out["version"] = record.version
    if settled:
        out["settled"] = _version(settled) | {
            "settled_at": settled.settled_at,
            "served": settled.served,
            "removed": settled.removed,
        }
    if pending:
        bits = [row in pending.todo for row in pending.rows]
        out["pending"] = _version(pending) | {
            "started_at": pending.started_at,
            "todo": _pack_bits(bits),
        }
    if failed:
        out["failed"] = {
            "seq": failed.seq,
            "stage": failed.stage,
            "reason": [failed.reason.code, failed.reason.text],
            **({"dropped": True} if failed.dropped else {}),
        }
    return json.dumps(out, ensure_ascii=False, separators=(",", ":")).encode()


def from_bytes(data: bytes) -> Record:
    """The record of a KV value. Raises ValueError, KeyError when this version cannot read it."""
    raw = json.loads(data)
    if raw["schema"] != SCHEMA:
        raise ValueError("a record of another schema")
    settled, pending, failed = raw.get("settled"), raw.get("pending"), raw.get("failed")
    version = raw.get("version")
    return Record(
        source=_is(str, raw["source"]),
        path=_is(str, raw["path"]),
        version=None if version is None else _is(int, version),
        settled=None if settled is None else _settled(settled),
        pending=None if pending is None else _pending(pending),
        failed=None if failed is None else _failed(failed),
    )


def read(data: bytes) -> Record | None:
    """The same; None where this version cannot read it."""
    try:
        return from_bytes(data)
    except GARBAGE:
        return None


def _settled(raw: Mapping[str, Any]) -> Settled:
    return Settled(
        **_common(raw),
        settled_at=_time(raw["settled_at"]),
        served=_is(int, raw["served"]),
        removed=_is(int, raw["removed"]),
    )


def _failed(raw: Mapping[str, Any]) -> Failed:
    return Failed(
        _is(int, raw["seq"]),
        _is(str, raw["stage"]),
        _reason(raw["reason"]),
        dropped=_is(bool, raw.get("dropped", False)),
    )


def _pending(raw: Mapping[str, Any]) -> Pending:
    common = _common(raw)
    bits = _unpack_bits(raw["todo"], len(common["rows"]))
    todo = frozenset(row for row, bit in zip(common["rows"], bits, strict=True) if bit)
    return Pending(**common, todo=todo, started_at=_time(raw["started_at"]))


def _version(value: Settled | Pending) -> dict[str, Any]:
    return {
        "seq": value.seq,
        "outcome": value.outcome,
        "changed_at": value.changed_at,
        "reason": value.reason and [value.reason.code, value.reason.text],
        "inserted": value.inserted,
        "encoded": value.encoded,
        "rows": _pack_rows(value.rows),
        **({} if value.is_active else {"is_active": False}),
        **({} if value.static_score is None else {"static_score": value.static_score}),
    }


def _common(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "seq": _is(int, raw["seq"]),
        "outcome": _OUTCOMES[raw["outcome"]],
        "changed_at": _time(raw["changed_at"]),
        "reason": None if raw["reason"] is None else _reason(raw["reason"]),
        "inserted": _is(int, raw["inserted"]),
        "encoded": _is(int, raw["encoded"]),
        "rows": _unpack_rows(raw["rows"]),
        "is_active": _is(bool, raw.get("is_active", True)),
        "static_score": _score(raw.get("static_score")),
    }


def _is(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"not of type {kind.__name__}")
    return value


def _time(value: object) -> float:
    """Unix time that can be shown. Raises ValueError, TypeError when it is that of no datetime."""
    time = value if isinstance(value, int) else _is(float, value)
    if not _FIRST_S - _OFFSET_S < time < _LAST_S + _OFFSET_S:
        raise ValueError("no time")
    return min(max(time, _FIRST_S), _LAST_S)


def _score(value: object) -> float | None:
    """None where none is given. Raises ValueError, TypeError when it is no finite number."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("no finite number")
    return float(value)


def _reason(raw: Sequence[object]) -> Reason:
    code, text = raw
    return Reason(_is(str, code), _is(str, text))


@lru_cache(KEYS_REMEMBERED)
def _key_bytes(name: str) -> bytes:
    return b32decode(name.upper() + "======")


@lru_cache(KEYS_REMEMBERED)
def _key_name(key: bytes) -> str:
    return b32encode(key).decode().rstrip("=").lower()


def _pack_rows(rows: Sequence[RowRef]) -> dict[str, Any]:
    borns = sorted({row.born for row in rows})
    index = {born: i for i, born in enumerate(borns)}
    keys = b"".join(_key_bytes(row.chunk_key) for row in rows)
    packed: dict[str, Any] = {"borns": borns, "keys": b64encode(keys).decode()}
    if len(borns) > 1:
        which = b"".join(index[row.born].to_bytes(2, "little") for row in rows)
        packed["which"] = b64encode(which).decode()
    return packed


def _unpack_rows(packed: Mapping[str, Any]) -> tuple[RowRef, ...]:
    keys, borns = b64decode(packed["keys"]), [_is(int, born) for born in packed["borns"]]
    names = [_key_name(keys[i : i + 16]) for i in range(0, len(keys), 16)]
    if len(borns) < 2:
        return tuple(RowRef(name, borns[0]) for name in names)
    which = b64decode(packed["which"])
    return tuple(
        RowRef(name, borns[int.from_bytes(which[2 * i : 2 * i + 2], "little")])
        for i, name in enumerate(names)
    )


def _pack_bits(bits: Sequence[bool]) -> str:
    number = sum(1 << i for i, bit in enumerate(bits) if bit)
    return b64encode(number.to_bytes((len(bits) + 7) // 8, "little")).decode()


def _unpack_bits(packed: str, count: int) -> list[bool]:
    number = int.from_bytes(b64decode(packed), "little")
    return [bool(number >> i & 1) for i in range(count)]
