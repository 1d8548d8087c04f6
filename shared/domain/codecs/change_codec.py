"""The decoding of DOCS messages into changes. Pure: no I/O, no clock."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from shared.domain.errors import DocumentRefused, MalformedEvent, NewerSchema
from shared.domain.events import Document, DocumentChanged, malformed
from shared.domain.events.changes import origin_of
from shared.domain.ids import check_document_path, doc_key
from shared.domain.ordering import MALFORMED, NEWER_SCHEMA, Reason

_MOST_INTAKE: Final = 2**53
_MOST_VERSION: Final = 2**63
"""A publisher may number by a clock that counts nanoseconds."""


@dataclass(frozen=True, slots=True)
class UnreadableChange:
    """Stands for a message of DOCS that this version cannot read.

    Its content is lost to this version, so nothing can send it again; any change may replace it.
    """

    reason: Reason
    intake: int = 0
    source_version: int | None = None
    origin: str | None = None
    """As in `DocumentChanged`, where a newer version wrote them: an older submission must not
    follow a newer one after a downgrade either. Garbage has none."""


def from_bytes(
    data: bytes, *, source: str, key: str, sequence: int
) -> DocumentChanged | UnreadableChange:
    """The change with its revision, or the known parts of an unreadable message.

    Args:
        source, key: those of the subject.
        sequence: of the message in DOCS, which is the revision.
    """
    try:
        change = DocumentChanged.model_validate_json(data)
    except ValidationError as error:
        return _unreadable(malformed(error), data)
    try:
        if (change.document.source, change.document.doc_key) != (source, key):
            raise MalformedEvent("source or document are not those of the subject")
        check_identity(change.document)
    except MalformedEvent as error:
        return _unreadable(error, data)
    document = change.document.model_copy(update={"revision": sequence})
    return change.model_copy(update={"document": document})


def check_identity(document: Document) -> None:
    """Check a publisher that may be mistaken: one key must never stand for two documents.

    Raises:
        MalformedEvent: the path is not valid, or the key is that of another document.
    """
    try:
        path = check_document_path(document.path)
    except DocumentRefused as refusal:
        raise MalformedEvent(f"document.path: {refusal.reason}") from None
    if doc_key(document.source, path) != document.doc_key:
        raise MalformedEvent("document.doc_key: not that of its source and path")


def _unreadable(error: MalformedEvent, data: bytes) -> UnreadableChange:
    if not isinstance(error, NewerSchema):
        return UnreadableChange(Reason(MALFORMED, str(error)))
    raw: dict[str, Any] = json.loads(data)  # an object, else it had no schema
    return UnreadableChange(
        Reason(NEWER_SCHEMA, str(error)),
        intake=max(0, _number(raw.get("intake"), _MOST_INTAKE) or 0),
        source_version=_number(raw.get("source_version"), _MOST_VERSION),
        origin=_origin(raw),
    )


def _origin(raw: Mapping[str, Any]) -> str | None:
    found = origin_of(raw.get("origin", raw.get("of_folder")))
    return found if isinstance(found, str) else None


def _number(value: object, most: int) -> int | None:
    return value if isinstance(value, int) and abs(value) < most else None
