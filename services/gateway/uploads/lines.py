"""Submissions as clients send them: their fields, conditions and keys. Pure."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from services.gateway.problems import Problem
from shared.domain.errors import DocumentRefused
from shared.domain.events import DocumentChanged, DocumentSubmitted, Linked, Ready
from shared.domain.formats import BY_ENDING, ending
from shared.domain.ids import content_hash, doc_key
from shared.domain.submissions import (
    LARGEST_BYTES,
    MAX_MEDIA_TYPE,
    check_fields,
    check_whole,
    encoded,
    fields_of,
)

SUBMISSION: Final = "application/vnd.instep.submission+json"
"""The body of a PUT is the fields of a submission; with any other type it is the document."""
OURS: Final = frozenset({"schema", "pieces"})
"""Fields of submissions that the gateway sets."""
FIELDS: Final = frozenset({*OURS, "batch", "op", "path", "if_revision"})
"""The same where address and headers say the rest."""
_OPERATIONS: Final = ("upsert", "delete", "upsert_if", "delete_if")
_UNTYPED: Final = frozenset({"", "application/octet-stream", "application/x-www-form-urlencoded"})
"""Types that clients send without being asked, and that say nothing."""
_ETAG: Final = re.compile(r'"([0-9]{1,16})(?:-[0-9a-f]{16})?"')
"""Of the answer to a write, or of a document, whose digest says nothing here."""
_LONGEST_KEY: Final = 255


def of_line(line: bytes) -> dict[str, Any]:
    """The submission in a line of JSON.

    Raises:
        DocumentRefused: it is none, or no producer would take it.
    """
    body = fields_of(line)
    check_fields(body)
    refuse_fields(body, OURS)
    if body.get("op", "upsert") not in _OPERATIONS:
        raise DocumentRefused("invalid_request", "op: must be 'upsert' or 'delete'")
    return checked(conditional(body, body.get("if_revision")))


def refuse_fields(body: Mapping[str, Any], names: Collection[str]) -> None:
    """Raises DocumentRefused: a field is there that the client may not set."""
    found = next((name for name in body if name in names), None)
    if found is not None:
        raise DocumentRefused("invalid_request", f"{found}: must not be given here")


def path_of(line: bytes) -> str:
    """The path in a line that is refused, as far as there is one."""
    try:
        return str(fields_of(line).get("path", ""))
    except DocumentRefused:
        return ""


def checked(body: Mapping[str, Any]) -> dict[str, Any]:
    """The submission, unless no producer would take it. Raises DocumentRefused.

    Messages have room for a batch beside it. A field that is null is as one that is absent.
    """
    body = {name: value for name, value in body.items() if value is not None}
    size = len(encoded({name: value for name, value in body.items() if name != "batch"}))
    if size > LARGEST_BYTES:
        raise too_long(size)
    check_whole(body)
    return body


def too_long(size: int | None = None) -> DocumentRefused:
    told = f"{size:,} bytes" if size else "too long"
    return DocumentRefused(
        "too_large",
        f"{told} as JSON, which has at most {LARGEST_BYTES:,} bytes: send the content as a file",
    )


def conditional(body: Mapping[str, Any], revision: int | None) -> dict[str, Any]:
    """The submission that is taken only while this is the document's revision."""
    op = str(body.get("op", "upsert"))
    if revision is None:
        return dict(body)
    return {**body, "op": f"{op.removesuffix('_if')}_if", "if_revision": revision}


def revision_of(if_match: str | None, if_none_match: str | None) -> int | None:
    """The revision that the headers demand; None: any.

    Raises:
        Problem: `invalid_request`: a condition that instep does not know, so it cannot hold it.
    """
    if if_none_match is not None:
        raise Problem("invalid_request", "If-None-Match is not known here; If-Match is")
    if if_match is None:
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is None or int(found[1]) >= 2**53:
        raise Problem("invalid_request", 'If-Match: must be one revision in quotes, as "17"')
    return int(found[1])


def message_id(source: str, key: str, part: str = "") -> str:
    """The name of the message of a request with an Idempotency-Key.

    Args:
        part: the document, of a request that has several.

    Raises:
        Problem: `invalid_request`.
    """
    if not key.strip() or len(key) > _LONGEST_KEY:
        raise Problem("invalid_request", f"Idempotency-Key: must have 1 to {_LONGEST_KEY} letters")
    digest = hashlib.sha256(f"{key}\n{part}".encode("utf-8", "backslashreplace")).hexdigest()
    return f"http:{source}:{digest[:40]}"


def media_type_of(path: str, content_type: str) -> dict[str, str]:
    """The field for the type of a file, where its client says one.

    A type that clients guess from the name says nothing that the path does not.
    """
    bare = content_type.partition(";")[0].strip().lower()
    if bare in _UNTYPED or len(content_type) > MAX_MEDIA_TYPE:
        return {}
    if bare == "text/plain" and ending(path) in BY_ENDING and ";" not in content_type:
        return {}
    return {"media_type": content_type.strip()}


def key_of(source: str, body: Mapping[str, Any]) -> str:
    """The document that a checked submission names."""
    return doc_key(source, str(body["path"]))


def same(change: DocumentChanged, body: Mapping[str, Any], joined: str) -> bool:
    """Whether a change says all that a checked submission says.

    The batch of a request with a key names all that the request says. Else False too where the
    change cannot tell: of a page of the web it has the content only. It has no condition either,
    but must be newer than the revision that the condition names.

    Args:
        joined: hash of the content, where that is in pieces.
    """
    event = check_whole(body)
    if event.batch is not None:
        return event.batch.id == change.batch.id
    if event.deletes != (change.op == "deleted"):
        return False
    version, before = event.source_version, event.if_revision
    return (
        (event.deletes or _same_content(change, event, joined))
        and _attributes(event) == _attributes(change)
        and (version is None or version == change.source_version)
        and (before is None or before < change.document.revision)
    )


def _attributes(of: DocumentChanged | DocumentSubmitted) -> tuple[object, ...]:
    metadata = json.dumps(of.metadata, sort_keys=True)  # where 1, 1.0 and true differ
    return of.title, metadata, of.media_type or None, of.static_score, of.is_active


def _same_content(change: DocumentChanged, event: DocumentSubmitted, joined: str) -> bool:
    if event.chunks is not None:
        return isinstance(change.content, Ready) and change.content.chunks == event.chunks
    if event.ref is not None:
        return isinstance(change.content, Linked) and change.content.ref == event.ref
    if event.pieces is not None:
        return change.content_hash == joined
    try:
        given = base64.b64decode(event.data_base64 or "", validate=True)
    except (binascii.Error, ValueError):
        return False  # no producer takes it
    return change.content_hash == content_hash(given if event.text is None else event.text.encode())
