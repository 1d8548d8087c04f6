"""Files and lines of JSON as submissions. Pure but for reading."""

import base64
import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from services.cli.exits import Stop
from services.cli.suggest import nearest

LARGEST_BYTES: Final = 700 * 1024
"""As base64, with everything else, it still fits a message of 1 MB."""
FIELDS: Final = frozenset(
    {"schema", "op", "path", "text", "data_base64", "chunks", "ref", "media_type", "title"}
    | {"metadata", "source_version", "batch"}
)


@dataclass(frozen=True, slots=True)
class Submission:
    """One document to send; `where` says in which file and line it stands."""

    where: str
    body: Mapping[str, Any]

    @property
    def path(self) -> str:
        return str(self.body.get("path", ""))


@dataclass(frozen=True, slots=True)
class Faulty:
    """A malformed line, and why; it never holds the document."""

    where: str
    path: str
    detail: str


def of_args(args: Namespace) -> list[Submission | Faulty]:
    """The files of the command, in order.

    Raises:
        Stop: a file cannot be sent at all, or two would be one document.
    """
    if args.path and (len(args.files) > 1 or args.jsonl):
        raise Stop("--path names one document, and several were given")
    if not args.jsonl and not args.path:
        _one_path_each(args.files)
    found: list[Submission | Faulty] = []
    for name in args.files:
        found += _lines(name) if args.jsonl else [_file(name, args)]
    return found


def with_batch(
    items: Sequence[Submission], source: str, batch_id: str, now: datetime
) -> list[Submission]:
    """The submissions as one batch (B5), unless a line names its own."""
    batch = {
        "id": batch_id,
        "count": sum("batch" not in item.body for item in items),
        "source": source,
        "started_at": now.astimezone(UTC).isoformat(),
    }
    return [Submission(item.where, {"batch": batch, **item.body}) for item in items]


def of_line(where: str, line: str) -> Submission | Faulty:
    """One line of JSON. Pure."""
    try:
        body = json.loads(line)
    except ValueError:
        return Faulty(where, "", "not JSON")
    if not isinstance(body, dict):
        return Faulty(where, "", "not a JSON object")
    path = str(body.get("path", ""))
    for name in body:
        if name not in FIELDS:
            near = nearest(name, FIELDS)
            meant = f"; did you mean {near!r}?" if near else ""
            return Faulty(where, path, f"{name!r} is not a field{meant}")
    return Submission(where, body) if path else Faulty(where, "", "'path' is missing")


def of_bytes(where: str, path: str, data: bytes) -> Submission:
    """A file's content: as text where it is UTF-8, else as base64. Raises Stop when too large."""
    if len(data) > LARGEST_BYTES:
        raise Stop(
            f"{where} has {len(data):,} bytes; a submission has at most {LARGEST_BYTES:,}",
            fix="put it into a watched folder",
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return Submission(where, {"path": path, "data_base64": base64.b64encode(data).decode()})
    return Submission(where, {"path": path, "text": text})


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


def _file(name: str, args: Namespace) -> Submission:
    if name == "-" and not args.path:
        raise Stop("standard input has no name", fix="give --path P")
    path = args.path or document_path(name)
    if args.delete:
        return Submission(name, {"op": "delete", "path": path})
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise Stop(f"{name}: {error.strerror}") from None
    return of_bytes("standard input" if name == "-" else name, path, data)


def document_path(typed: str) -> str:
    """The document's path for a file as typed: without `./`, and its name alone from elsewhere."""
    path = Path(typed)
    outside = path.is_absolute() or ".." in path.parts
    return path.name if outside else path.as_posix()


def _lines(name: str) -> Iterator[Submission | Faulty]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(f"{name}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
    shown = "standard input" if name == "-" else name
    for n, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield of_line(f"{shown}:{n}", line)
