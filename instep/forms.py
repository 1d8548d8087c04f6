"""Files as one form, which is read while it is sent. Light to import."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

from instep.http import Extras, Refused, json_line

READ_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class UploadFile:
    """A file of a form, which becomes the document `path`.

    content: text, bytes, or the place of a file on this machine.
    fields: of a submission, besides path and content: `title`, `metadata`, `media_type` and others.
    """

    path: str
    content: bytes | str | Path
    fields: Mapping[str, Any] = field(default_factory=dict)


def form(files: Sequence[UploadFile], key: str | None) -> Extras:
    """The body of a form, and its headers.

    Args:
        key: the Idempotency-Key.

    Raises:
        Refused: a path is not Unicode, or a file cannot be read.
    """
    boundary = f"instep-{secrets.token_hex(16)}"
    for one in files:  # before anything is sent
        if isinstance(one.content, Path):
            _opened(one.content).close()
    meta = {one.path: dict(one.fields) for one in files if one.fields}
    heads = [_head(boundary, "files", one.path) for one in files]

    def chunks() -> Iterator[bytes]:
        for head, one in zip(heads, files, strict=True):
            yield head
            yield from _content(one)
            yield b"\r\n"
        if meta:
            yield f'--{boundary}\r\nContent-Disposition: form-data; name="meta"\r\n\r\n'.encode()
            yield json_line(meta) + b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    return Extras(chunks, f"multipart/form-data; boundary={boundary}", idempotency_key=key)


def _head(boundary: str, name: str, path: str) -> bytes:
    try:
        file = quote(path, safe="")
    except UnicodeEncodeError:
        raise Refused("not_unicode", "path: must be valid Unicode text") from None
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; '
        f"filename*=utf-8''{file}\r\nContent-Type: application/octet-stream\r\n\r\n"
    ).encode()


def _content(file: UploadFile) -> Iterator[bytes]:
    if not isinstance(file.content, Path):
        yield file.content.encode() if isinstance(file.content, str) else file.content
        return
    with _opened(file.content) as opened:
        while True:
            try:
                data = opened.read(READ_BYTES)
            except OSError as error:  # not one of the connection
                raise _unreadable(error) from None
            if not data:
                return
            yield data


def _opened(path: Path) -> IO[bytes]:
    """Raises Refused: the file cannot be read."""
    try:
        return path.open("rb")
    except OSError as error:
        raise _unreadable(error) from None


def _unreadable(error: OSError) -> Refused:
    return Refused("source_gone", f"it cannot be read: {error.strerror}")
