"""Ids and keys of documents, rows, vectors and batches. Pure."""

import hashlib
import re
import unicodedata
import uuid
from base64 import b32encode
from typing import Final

from shared.domain.errors import DocumentRefused

SOURCE_PATTERN: Final = r"^[a-z0-9][a-z0-9-]{0,39}$"
SOURCE_RULE: Final = "a source name has 1 to 40 of a-z, 0-9 and '-', and no '-' at the start"
DOC_KEY_PATTERN: Final = r"^[a-z2-7]{26}$"
PIECE_PATTERN: Final = r"^[0-9a-f]{64}$"
PREFIX_PATTERN: Final = r"^[a-z_][a-z0-9_]{0,19}$"
"""Of the names of tables."""
MAX_PATH_BYTES: Final = 1024
TOO_LONG: Final = f"a path has at most {MAX_PATH_BYTES:,} bytes of UTF-8"
LONGEST_SPELT: Final = 4 * MAX_PATH_BYTES
"""Characters of a path in any form of Unicode: to order marks upon marks takes quadratic time."""
_ROW_NAMESPACE: Final = uuid.UUID("6f1d7e0c-6a0e-5b8e-9a53-0b6f5d1c2e47")
_DOC_KEY: Final = re.compile(DOC_KEY_PATTERN[1:-1])
_CONTROL = re.compile(r"[\x00]")
_HOST = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]{0,31}://[^/?#]++")
"""The beginning of a URL, to the end of its host."""


def _b32(digest: bytes) -> str:
    return b32encode(digest).decode().rstrip("=").lower()


def doc_key(source: str, path: str) -> str:
    """The 26 characters that subjects and KV keys carry for a document.

    Equal paths in other Unicode normalisation forms are one document (NFC).
    """
    text = f"{source}\n{unicodedata.normalize('NFC', path)}"
    return _b32(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest())[:26]


def is_source(text: str) -> bool:
    """Whether it could be the name of a source."""
    return bool(re.fullmatch(SOURCE_PATTERN[1:-1], text))


def is_doc_key(text: str) -> bool:
    """Whether it could be the key of a document."""
    return bool(_DOC_KEY.fullmatch(text))


def row_id(doc_key: str, chunk_key: str, born: int) -> str:
    """UUID of a row: the document, the content of the row, and the revision that introduced it."""
    return str(uuid.uuid5(_ROW_NAMESPACE, f"{doc_key}\n{chunk_key}\n{born}"))


def bucket_of(doc_key: str) -> str:
    """The bucket of a document in digests: one of 1,024."""
    return doc_key[:2]


def mark_of(row_id: str) -> int:
    """The share of a row in the digest of its bucket: 64 bits of its id."""
    return int(row_id[:18].replace("-", ""), 16)


def content_hash(data: bytes) -> str:
    """sha256 of the bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def piece_of(source: str, data: bytes) -> bytes:
    """The bytes that are stored for a piece of a document; `content_hash` of them is its name.

    The source is part of them: no source can name the pieces of another, nor a whole document.
    """
    return piece_prefix(source) + data


def piece_prefix(source: str) -> bytes:
    return f"piece\0{source}\0".encode()


def cache_key(fingerprint: str, text: str) -> str:
    """Key of the vector of `text` made by the model of `fingerprint`; 52 base32 characters."""
    return _b32(hashlib.sha256(f"{fingerprint}\n{text}".encode()).digest())


def batch_key(generation: str, source: str, batch_id: str) -> str:
    """Three parts of a KV key, and the name of a batch in one generation.

    An id is free text that its source chose: two sources may choose the same one.
    """
    return f"{generation}.{source}.{short_digest(batch_id, 26)}"


def short_digest(text: str, length: int = 8) -> str:
    return _b32(hashlib.sha256(text.encode()).digest())[:length]


def check_source(source: str) -> str:
    """Return `source`, or raise DocumentRefused `invalid_source`."""
    if not is_source(source):
        raise DocumentRefused("invalid_source", SOURCE_RULE)
    return source


def check_path(path: str) -> str:
    """Return the path in NFC, or raise DocumentRefused `invalid_path`.

    Relative, '/' between parts, no empty, '.' or '..' part, no NUL, at most 1,024 bytes of UTF-8.
    """
    normal = _normal(path)
    if any(part in ("", ".", "..") for part in normal.split("/")):
        raise DocumentRefused("invalid_path", "a path is relative and has no '', '.' or '..' part")
    return normal


def check_document_path(path: str) -> str:
    """Return the path of any document in NFC, or raise DocumentRefused `invalid_path`.

    As `check_path`; or a URL, which may have empty parts, a query and a fragment: it is kept as it
    is, so two spellings of one address are two documents.
    """
    normal = _normal(path)
    if not _HOST.match(normal):
        return check_path(normal)
    parts = re.split(r"[?#]", normal, maxsplit=1)[0].split("/")
    if any(part in (".", "..") for part in parts):
        raise DocumentRefused("invalid_path", "a path that is a URL has no '.' or '..' part")
    return normal


def last_name(path: str) -> str:
    """The last part; of a URL without host, query and fragment, so it may be empty."""
    if "://" in path and (host := _HOST.match(path)):
        path = re.split(r"[?#]", path[host.end() :], maxsplit=1)[0]
    return path[path.rfind("/") + 1 :]


def is_url(path: str) -> bool:
    """Whether the path of a document is a URL."""
    return bool(_HOST.match(path))


def _normal(path: str) -> str:
    if len(path) > LONGEST_SPELT:
        raise DocumentRefused("invalid_path", TOO_LONG)
    normal = unicodedata.normalize("NFC", path)
    try:
        size = len(normal.encode())
    except UnicodeEncodeError:
        raise DocumentRefused("invalid_path", "the path is not valid Unicode") from None
    if not normal:
        raise DocumentRefused("invalid_path", "the path must not be empty")
    if _CONTROL.search(normal):
        raise DocumentRefused("invalid_path", "a path has no NUL character")
    if size > MAX_PATH_BYTES:
        raise DocumentRefused("invalid_path", TOO_LONG)
    return normal
