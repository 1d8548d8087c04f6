"""Files and lines of JSON as submissions. Pure but for reading."""

import base64
import codecs
import mimetypes
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from services.cli.exits import Stop
from shared.domain.errors import DocumentRefused
from shared.domain.formats import BY_ENDING, ending
from shared.domain.ids import doc_key, is_url
from shared.domain.submissions import (
    LARGEST_BYTES,
    MAX_BYTES,
    check_fields,
    check_whole,
    content_of,
    encoded,
    fields_of,
)

TOO_LARGE: Final = f"a message has at most {LARGEST_BYTES:,}: split the document"


@dataclass(frozen=True, slots=True)
class Submission:
    """One document to send; `where` says in which file and line it stands."""

    where: str
    body: Mapping[str, Any]
    large: bytes | Path | None = None
    """The content, or its file, where it is too large for one message; the body has none then."""

    @property
    def path(self) -> str:
        return str(self.body.get("path", ""))


@dataclass(frozen=True, slots=True)
class Faulty:
    """A submission that is not sent, and why; it never holds the document."""

    where: str
    path: str
    detail: str
    code: str = "invalid_request"


def of_args(args: Namespace, most: int = MAX_BYTES) -> list[Submission | Faulty]:
    """The files of the command, in order.

    Args:
        most: bytes of a document of the source.

    Raises:
        Stop: a file cannot be sent at all, or two would be one document.
    """
    if args.path and (len(args.files) > 1 or args.jsonl):
        raise Stop("--path names one document, and several were given")
    if not args.jsonl and not args.path:
        _one_path_each(args.files)
    found: list[Submission | Faulty] = []
    for name in args.files:
        found += _lines(name) if args.jsonl else [_file(name, args, most)]
    return found


def with_batch(
    items: Sequence[Submission], source: str, batch_id: str, now: datetime
) -> list[Submission]:
    """The submissions as one batch (B5), unless a line names its own.

    It has as many members as different documents: a second change of one is no further member.
    """
    batch = {
        "id": batch_id,
        "count": len({doc_key(source, one.path) for one in items if "batch" not in one.body}),
        "source": source,
        "started_at": now.astimezone(UTC).isoformat(),
    }
    return [replace(item, body={"batch": batch, **item.body}) for item in items]


def of_line(where: str, line: bytes) -> Submission | Faulty:
    """One line of JSON; a field that is null is as one that is absent. Pure."""
    path = ""
    try:
        body = fields_of(line)
        path = str(body.get("path", ""))
        check_fields(body)
    except DocumentRefused as refusal:
        return Faulty(where, path, refusal.reason)
    given = {name: value for name, value in body.items() if value is not None}
    return checked(Submission(where, given))


def checked(item: Submission) -> Submission | Faulty:
    """The submission, unless the producer of any instance would refuse it as it is. Pure."""
    if item.large is None and len(encoded(item.body)) > LARGEST_BYTES:
        item = _in_pieces(item)
    if (size := len(encoded(item.body))) > LARGEST_BYTES:
        return Faulty(item.where, item.path, f"{size:,} bytes as JSON; {TOO_LARGE}", "too_large")
    whole = item.body if item.large is None else {**item.body, "text": ""}
    try:
        check_whole(whole)
    except DocumentRefused as refusal:
        return Faulty(item.where, item.path, refusal.reason, refusal.code)
    return item


def _in_pieces(item: Submission) -> Submission:
    """The submission without the content that makes it too large for one message."""
    text, encoded = item.body.get("text"), item.body.get("data_base64")
    try:
        if isinstance(text, str) and encoded is None:
            data = text.encode()
        elif isinstance(encoded, str) and text is None:
            data = base64.b64decode(encoded, validate=True)
        else:
            return item
    except ValueError:
        return item
    body = {name: v for name, v in item.body.items() if name not in ("text", "data_base64")}
    return Submission(item.where, body, data)


def of_bytes(where: str, path: str, data: bytes) -> Submission:
    """A file's content: as text where it is UTF-8, else as base64."""
    return Submission(where, {"path": path, **content_of(data)})


def _one_path_each(names: Sequence[str]) -> None:
    taken: dict[str, str] = {}
    for name in names:
        path = document_path(name)
        if path in taken:
            raise Stop(
                f"{taken[path]} and {name} would both be the document {path!r}",
                fix="publish each alone, with --path P",
            )
        taken[path] = name


def _file(name: str, args: Namespace, most: int) -> Submission | Faulty:
    if name == "-" and not args.path:
        raise Stop("standard input has no name", fix="give --path P")
    path = args.path or document_path(name)
    if args.delete:
        return checked(Submission(name, {"op": "delete", "path": path}))
    size = _size(name)
    if LARGEST_BYTES < size <= most:
        item = Submission(name, {"path": path}, Path(name))
    else:
        data = b"" if size > most else _read(name, most + 1)
        if max(size, len(data)) > most:
            return _above(most, _shown(name), path, size if size > most else 0)
        item = of_bytes(_shown(name), path, data)
    kind, _ = mimetypes.guess_type(name)
    is_told = ending(path) in BY_ENDING or kind is None
    return checked(item if is_told else replace(item, body={**item.body, "media_type": kind}))


def _above(most: int, where: str, path: str, size: int) -> Faulty:
    """A file above the limit of its source. size: bytes; 0: not known."""
    told = f"{size:,} bytes" if size else f"more than {most:,} bytes"
    fix = "split it, or raise its max_bytes"
    detail = f"{told}; its source takes at most {most:,}: {fix}"
    return Faulty(where, path, detail, "too_large")


def document_path(typed: str) -> str:
    """The document's path for a file as typed: without `./`, and its name alone from elsewhere.

    A URL, as of a document to be deleted, stays as it is.
    """
    if is_url(typed):
        return typed
    path = Path(typed)
    outside = path.is_absolute() or ".." in path.parts
    return path.name if outside else path.as_posix()


def _lines(name: str) -> Iterator[Submission | Faulty]:
    data = _read(name).removeprefix(codecs.BOM_UTF8)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Stop(f"{name} is UTF-16", fix="save it as UTF-8")
    for n, line in enumerate(data.splitlines(), 1):  # of bytes: U+2028 in a text ends no line
        if line.strip():
            yield of_line(f"{_shown(name)}:{n}", line)


def _size(name: str) -> int:
    """Bytes of a file; 0 where that is not known before it is read."""
    try:
        return 0 if name == "-" else Path(name).stat().st_size
    except (OSError, ValueError):
        return 0


def _read(name: str, most: int = -1) -> bytes:
    """Its bytes, at most so many: standard input and pipes may have no end."""
    try:
        if name == "-":
            return sys.stdin.buffer.read(most)
        with Path(name).open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise Stop(f"{name}: {error.strerror}") from None


def _shown(name: str) -> str:
    return "standard input" if name == "-" else name
