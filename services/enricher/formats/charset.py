"""The decoding of bytes to text, in a detected encoding. Pure."""

import codecs
import re
from typing import Final

from shared.domain.errors import DocumentRefused

MAX_DAMAGE: Final = 0.01
"""Share of U+FFFD in a text that is still accepted."""

_BOMS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_BYTES: Final = 32 * 1024
_MAX_CHAOS: Final = 0.1
_MIN_COHERENCE: Final = 0.3
_TEXT_CONTROLS: Final = b"\t\n\r\x0b\x0c\x08\x1a\x1b"
_NOT_TEXT = re.compile(rb"[\x00-\x07\x0e-\x19\x1c-\x1f\x7f]")
_HIGH = re.compile(rb"[\x80-\xff]")


def decode(data: bytes, *, declared: str | None = None) -> str:
    """The text of the bytes.

    A byte order mark decides, then UTF-8 if the bytes are, then the declared charset, then
    statistics if they are sure, then Windows-1252 if it reads like a Western language.

    Args:
        data: anything.
        declared: a charset that the document or its sender names, if any.

    Raises:
        DocumentRefused: `unknown_format` for binary data, `wrong_encoding` for a text in an unknown
            encoding.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _with_mark(data, encoding)
    if looks_binary(data):
        raise DocumentRefused(
            "unknown_format", "the file is not text; publish its text, or leave it out"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _not_utf8(data, declared)


def looks_binary(data: bytes) -> bool:
    """Whether NUL bytes, or many other control bytes, show that this is binary."""
    sample = data[:_SAMPLE_BYTES]
    return b"\0" in data or len(_NOT_TEXT.findall(sample)) > len(sample) * 0.02


def _with_mark(data: bytes, encoding: str) -> str:
    text = data.decode(encoding, "replace")
    if text.count("\ufffd") > max(1, len(text) * MAX_DAMAGE):
        raise _undecodable()
    return text


def _not_utf8(data: bytes, declared: str | None) -> str:
    damaged = data.decode("utf-8", "replace")
    bad = damaged.count("\ufffd")
    # a few broken bytes in a text whose other accents are UTF-8: damaged, not another encoding
    if sum(1 for c in damaged if c > "\x7f") > 10 * bad:
        return damaged
    for encoding in (declared, _by_statistics(data), "cp1252" if _is_western(data) else None):
        text = _try(data, encoding)
        if text is not None:
            return text
    raise _undecodable()


def _try(data: bytes, encoding: str | None) -> str | None:
    """The text, or None. Only encodings that Python knows as text encodings."""
    if not encoding:
        return None
    try:
        return data.decode(codecs.lookup(encoding).name)
    except (LookupError, ValueError):
        return None


def _by_statistics(data: bytes) -> str | None:
    """The encoding that charset-normalizer is sure of: little mess, and a language in it."""
    from charset_normalizer import from_bytes

    sample = data if len(data) <= _SAMPLE_BYTES else _around_high_bytes(data)
    best = from_bytes(sample, enable_fallback=False).best()
    if best is None or best.chaos > _MAX_CHAOS or best.coherence < _MIN_COHERENCE:
        return None
    return best.encoding


def _around_high_bytes(data: bytes) -> bytes:
    first = _HIGH.search(data)
    start = max(0, (first.start() if first else 0) - _SAMPLE_BYTES // 2)
    return data[start : start + _SAMPLE_BYTES]


def _is_western(data: bytes) -> bool:
    """Whether the bytes read as Windows-1252: mostly ASCII, accents inside words."""
    try:
        text = data[: 4 * _SAMPLE_BYTES].decode("cp1252")
    except UnicodeDecodeError:
        return False
    high = [c for c in text if c > "\x7f"]
    letters = sum(
        1 for c in high if c.isalpha() or c in "\u2018\u2019\u201c\u201d\u2013\u2014…€£§°«»\xa0"
    )
    return len(high) <= len(text) * 0.3 and letters >= len(high) * 0.8


def _undecodable() -> DocumentRefused:
    return DocumentRefused("wrong_encoding", "the encoding is not known; save the file as UTF-8")
