"""The path of a row: the values of its key columns as text, with "/" between them. Pure.

Two rows have one path only if they have one key, and the path tells the key: every part is
percent-encoded where it could not be a part of a path, and "%" always is.
"""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Final
from urllib.parse import quote, unquote

from shared.domain.errors import DocumentRefused
from shared.domain.ids import LONGEST_SPELT, check_path

_UNSAFE: Final = re.compile(r"[%/\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")
_EMPTY: Final = "%"
"""In place of an empty part; no other part is encoded so."""


def path_of(key_values: Mapping[str, object], key_columns: Sequence[str]) -> str:
    """The path of the document of a row.

    Args:
        key_values: column to value, as the driver or a message of change capture has it; columns
            that are not in `key_columns` do not count.
        key_columns: in the order of the settings.

    Raises:
        DocumentRefused: a value is NULL, or the path is too long.
        KeyError: a column is missing.
    """
    texts = [text_of(key_values[name]) for name in key_columns]
    empty = [name for name, text in zip(key_columns, texts, strict=True) if text is None]
    if empty:
        raise DocumentRefused("invalid_path", f"the key is NULL, in column {', '.join(empty)}")
    return check_path("/".join(_encoded(text) for text in texts if text is not None))


def texts_of(path: str, columns: int) -> tuple[str, ...] | None:
    """The key that a path names, a text for each column; None when it names no key."""
    texts = tuple("" if part == _EMPTY else _decoded(part) for part in path.split("/"))
    is_key = len(texts) == columns and "/".join(map(_encoded, texts)) == path
    return texts if is_key else None


def text_of(value: object) -> str | None:
    """A value of a column as text; None for NULL. One text for one value of a column's type."""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case datetime() | date() | time():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case list() | dict():
            return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
        case _:
            return str(value)


def _encoded(text: str) -> str:
    if text == "":
        return _EMPTY
    if text in (".", ".."):
        return text.replace(".", "%2E")
    part = _UNSAFE.sub(_quoted, text)
    if len(part) <= LONGEST_SPELT and unicodedata.normalize("NFC", part) == part:
        return part
    # a path is stored in NFC, in which two keys could have one spelling
    return _NOT_ASCII.sub(_quoted, part)


def _quoted(found: re.Match[str]) -> str:
    return quote(found[0], safe="", errors="surrogatepass")


def _decoded(part: str) -> str:
    return unquote(part, errors="surrogatepass")
