"""Files that hold documents of their own: messages with attachments, and lists of records. Pure."""

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from shared.domain.errors import DocumentRefused
from shared.domain.formats import BY_ENDING, ending

if TYPE_CHECKING:
    from shared.formats.mail import Attachment

MAX_BYTES: Final = 100 * 1024**2
"""Of all attachments of a message together."""
MAX_METADATA: Final = 64 * 1024
"""Characters of title and metadata of a record."""
MAX_PARTS: Final = 100_000
"""Documents of one file."""
_SAID: Final = 3
"""Faults of a file that are told one by one."""
_NO_NAME: Final = re.compile(r"[%#/\x00-\x1f\x7f]")
_FALSE: Final = frozenset({"", "0", "false", "f", "no", "n", "off"})

Record = Mapping[str, Any]
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Fields:
    """Which fields of a record are what; see `shared.settings.Records`."""

    key: Sequence[str]
    title: Sequence[str]
    body: Sequence[str]
    static_score: str
    is_active: str


@dataclass(frozen=True, slots=True)
class FilePart:
    """A document that lies in a file with others."""

    name: str
    """Without '/' and '#'; no two parts of a file share one."""
    data: bytes
    media_type: str | None
    title: str | None = None
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    static_score: float | None = None
    is_active: bool = True


@dataclass(slots=True)
class Parts:
    """What a file holds."""

    parts: list[FilePart] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Of records that are not taken, or not wholly, in words for people."""
    left_out: list[str] = field(default_factory=list)
    """Names of attachments that no format reads."""

    @property
    def fault(self) -> str | None:
        """The first faults as one sentence."""
        more = len(self.faults) - _SAID
        said = [*self.faults[:_SAID], *([f"and {more:,} more"] if more > 0 else [])]
        return "; ".join(said) or None


def kind_of(path: str, *, records: bool) -> Literal["mail", "records"] | None:
    """What the file at a path holds besides, or instead of, its own text."""
    if ending(path) == ".eml":
        return "mail"
    is_list = ending(path) in _LISTS
    return "records" if records and is_list else None


def split(data: bytes, path: str, fields: Fields | None) -> Parts:
    """The documents of a file.

    Args:
        fields: of records; None for a message.

    Raises:
        DocumentRefused: `corrupt`, `wrong_encoding`, `too_large`: nothing is known of its parts.
    """
    # the parent of the process that splits needs none of these modules
    from shared.formats import mail
    from shared.formats.blocks import clean
    from shared.formats.charset import decode

    if fields is None:
        return _attached(mail.attachments(data))
    if not data.strip():
        raise DocumentRefused("empty", "the file is empty; it is read when it has records")
    text = decode(data)[0]
    records = _of_table(clean(text)) if BY_ENDING[ending(path)] == "csv" else _of_json(text)
    return _documents(records, fields)


def _attached(attachments: Iterator["Attachment"]) -> Parts:
    from shared.formats import mail
    from shared.formats.extract import ANY, named_format

    found = Parts()
    for one in attachments:
        # mail programs guess the media type of endings that they do not know
        media_type = None if ending(one.name) in BY_ENDING else one.media_type
        if media_type is None or (media_type not in ANY and named_format(one.name, media_type)):
            found.parts.append(FilePart(one.name, one.data, media_type))
        else:
            found.left_out.append(one.name)
    if len(found.parts) + len(found.left_out) == mail.MAX_ATTACHMENTS:
        found.faults.append(f"no more than {mail.MAX_ATTACHMENTS} attachments are read")
    return found


def _of_table(text: str) -> Iterator[Record]:
    from shared.formats.records import rows_of

    rows = rows_of(text)
    names = [name.strip() for name in next(rows, [])]
    if len(set(names)) < len(names):
        raise DocumentRefused("corrupt", "two columns have one name")
    for row in rows:
        if any(row):
            more = (f"column {n + 1}" for n in range(len(names), len(row)))
            yield dict(zip([*names, *more], row, strict=False))


def _of_json(text: str) -> Iterator[Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = _of_lines(text)
    yield from values if isinstance(values, list) else [values]


def _of_lines(text: str) -> list[Any]:
    found = list[Any]()
    for number, line in enumerate(text.split("\n"), 1):
        try:
            found += [json.loads(line)] if line.strip() else []
        except (ValueError, RecursionError):
            raise DocumentRefused("corrupt", f"line {number:,} is not JSON") from None
    return found


def _documents(records: Iterator[Any], fields: Fields) -> Parts:
    found, taken, nameless = Parts(), set[str](), list[int]()
    for number, record in enumerate(records, 1):
        if number > MAX_PARTS:
            raise DocumentRefused("too_large", f"there are more than {MAX_PARTS:,} records")
        name = _name(record, fields) if isinstance(record, dict) else None
        if name is None:
            nameless.append(number)
        elif name in taken:
            found.faults.append(f"record {number:,} has the key of another one, which counts")
        else:
            taken.add(name)
            found.parts.append(_document(name, record, fields, found.faults))
    if nameless:
        found.faults.insert(0, _without_key(nameless, fields))
    return found


def _without_key(numbers: Sequence[int], fields: Fields) -> str:
    more = f" and {len(numbers) - 1:,} more have" if len(numbers) > 1 else " has"
    return f"record {numbers[0]:,}{more} no key (`records.key`): no field {' or '.join(fields.key)}"


def _name(record: Record, fields: Fields) -> str | None:
    key = next((record[name] for name in fields.key if name in record), None)
    if not isinstance(key, str | int | float) or isinstance(key, bool):
        return None
    text = unicodedata.normalize("NFC", str(key).strip())
    return _NO_NAME.sub(lambda found: f"%{ord(found[0]):02X}", text) or None


def _document(name: str, record: Record, fields: Fields, faults: list[str]) -> FilePart:
    rest = dict(record)
    rest.pop(next(one for one in fields.key if one in rest))
    title = _text(rest.pop(next((one for one in fields.title if one in rest), ""), None))
    active = rest.pop(fields.is_active, True)
    score = rest.pop(fields.static_score, None)
    number = _number(score)
    if number is None and score not in (None, ""):
        faults.append(f"the {fields.static_score} of record {name[:40]} is no number")
    body: str
    if fields.body:
        body = "\n\n".join(filter(None, (_text(rest.pop(one, None)) for one in fields.body)))
        media_type, metadata = "text/plain", {k: _scalar(v) for k, v in rest.items()}
    else:
        rest = {k: v for k, v in rest.items() if v not in (None, "")}
        body = json.dumps(rest, ensure_ascii=False) if rest else ""
        media_type, metadata = "application/json", {}
    if not body:
        body, media_type = title, "text/plain"
    if len(title) + sum(len(f"{k}{v}") for k, v in metadata.items()) > MAX_METADATA:
        faults.append(f"title and other fields of record {name[:40]} are too long to be told")
        title, metadata = title[:1000], {}
    return FilePart(
        name,
        body.encode("utf-8", "replace"),
        media_type,
        title or None,
        metadata,
        number,
        active is None or str(active).strip().lower() not in _FALSE,
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    from shared.formats.blocks import clean

    told = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return clean(told).strip()


def _scalar(value: Any) -> Scalar:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float):
        return value
    return _text(value)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) else None


_LISTS: Final = frozenset(e for e, kind in BY_ENDING.items() if kind in ("csv", "json"))
ENDINGS: Final = (*sorted(_LISTS), ".eml")
"""Of files that hold documents, or may."""
