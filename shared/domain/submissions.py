"""The checks of a submission that need no source: at the door of each way in. Pure.

Refusals name fields and rules, never the values: a receipt may be read by others.
"""

import base64
import codecs
import difflib
import json
import math
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from shared.domain.codecs.change_codec import UnreadableChange
from shared.domain.errors import DocumentRefused
from shared.domain.events import DocumentChanged, DocumentSubmitted, json_bytes
from shared.domain.faults import of_event
from shared.domain.ids import check_document_path, check_source
from shared.domain.topology import KB, MAX_MESSAGE_BYTES

EVENT_TYPE: Final = "instep.document.submitted.v1"
STRUCTURED: Final = "application/cloudevents"
NAMES: Final = tuple(field.alias or name for name, field in DocumentSubmitted.model_fields.items())
"""The fields of a submission."""
MAX_METADATA_KEYS: Final = 64
MAX_METADATA_BYTES: Final = 8 * KB
MAX_TITLE_BYTES: Final = 1 * KB
MAX_MEDIA_TYPE: Final = 200
MAX_BYTES: Final = 100 * 1024**2
"""Of a document whose source has no limit of its own."""
MAX_VERSION: Final = 2**63 - 1
MAX_BATCH_ID: Final = 200
LARGEST_BYTES: Final = MAX_MESSAGE_BYTES - 16 * KB
"""Of a submission as JSON: with its batch and its headers it fits a message."""
PIECE_BYTES: Final = 640 * KB
"""Of content in one message, where it takes several: as base64 it fits."""


def read(data: bytes, headers: Mapping[str, str]) -> DocumentSubmitted:
    """The submission in a message: plain JSON, or a CloudEvent in binary or structured mode.

    A byte order mark before the JSON is no fault.

    Raises:
        DocumentRefused: `invalid_request`.
    """
    names = {name.lower(): value for name, value in headers.items()}
    data = data.removeprefix(codecs.BOM_UTF8)
    if names.get("content-type", "").lower().startswith(STRUCTURED):
        data = _unwrap(data)
    elif names.get("ce-type", EVENT_TYPE) != EVENT_TYPE:
        raise DocumentRefused("invalid_request", f"ce-type: only {EVENT_TYPE} is taken")
    try:
        return DocumentSubmitted.model_validate_json(data)
    except ValidationError as error:
        if name := _not_unicode(data):
            raise _not_text(name) from None
        found = error.errors(include_input=False, include_url=False)
        raise DocumentRefused("invalid_request", of_event(found)) from None


def _not_unicode(data: bytes) -> str:
    """The first field that JSON spells with half a surrogate pair; empty where none does."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    for name in NAMES if isinstance(body, dict) else ():
        try:
            json.dumps(body.get(name), ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return name
    return ""


def check_identity(event: DocumentSubmitted, source: str) -> tuple[str, str]:
    """Source and path in NFC. Raises DocumentRefused `invalid_source`, `invalid_path`."""
    return check_source(source), check_document_path(event.path)


def check_attributes(event: DocumentSubmitted) -> None:
    """Title, metadata, score, version, batch. Raises DocumentRefused `invalid_request`."""
    title, batch = event.title or "", event.batch
    _at_most("title", len(utf8("title", title)), MAX_TITLE_BYTES, "bytes of UTF-8")
    _at_most("media_type", len(event.media_type or ""), MAX_MEDIA_TYPE, "characters")
    _check_metadata(event)
    if event.static_score is not None and not math.isfinite(event.static_score):
        raise DocumentRefused("invalid_request", "static_score: must be a finite number")
    if abs(event.source_version or 0) > MAX_VERSION:
        raise DocumentRefused("invalid_request", "source_version: must fit 64 bits")
    if batch is None:
        return
    if not 0 < len(batch.id) <= MAX_BATCH_ID:
        rule = f"must have 1 to {MAX_BATCH_ID} characters"
        raise DocumentRefused("invalid_request", f"batch.id: {rule}")
    if batch.count > MAX_VERSION:
        raise DocumentRefused("invalid_request", "batch.count: must fit 64 bits")
    _at_most("batch.format", len(batch.format), MAX_MEDIA_TYPE, "characters")


def _check_metadata(event: DocumentSubmitted) -> None:
    _at_most("metadata", len(event.metadata), MAX_METADATA_KEYS, "keys")
    if any(isinstance(v, float) and not math.isfinite(v) for v in event.metadata.values()):
        raise DocumentRefused("invalid_request", "metadata: numbers must be finite")
    _at_most("metadata", json_bytes(event.metadata), MAX_METADATA_BYTES, "bytes of JSON")


def _at_most(field: str, size: int, limit: int, unit: str) -> None:
    if size > limit:
        rule = f"must have at most {limit:,} {unit}, not {size:,}"
        raise DocumentRefused("invalid_request", f"{field}: {rule}")


def fields_of(line: bytes) -> dict[str, Any]:
    """The JSON object of a submission: a line of a file, or a body.

    Raises:
        DocumentRefused: `invalid_request`; the reason never quotes the document.
    """
    try:
        body = json.loads(line.decode())
    except UnicodeDecodeError:
        raise _invalid("not UTF-8: save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise _invalid(f"not JSON from character {error.colno} on") from None
    except (ValueError, RecursionError):
        raise _invalid("not JSON: nested too deep, or a number of too many digits") from None
    if not isinstance(body, dict):
        raise _invalid("not a JSON object")
    return body


def check_fields(body: Mapping[str, Any]) -> None:
    """Raises DocumentRefused `invalid_request`: a field is unknown, or the path is missing."""
    for name in body:
        if name not in NAMES:
            near = difflib.get_close_matches(name[:100], NAMES, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            shown = name if len(name) <= 100 else f"{name[:99]}…"
            raise _invalid(f"{shown!r} is not a field{meant}")
    if not str(body.get("path", "")):
        raise _invalid("'path' is missing")


def check_whole(body: Mapping[str, Any]) -> DocumentSubmitted:
    """The submission, unless the producer of any instance would refuse it as it is.

    Raises:
        DocumentRefused: `invalid_request`, `invalid_path`.
    """
    if isinstance(metadata := body.get("metadata"), dict):  # each wrong value has four faults
        _at_most("metadata", len(metadata), MAX_METADATA_KEYS, "keys")
    event = read(encoded(body), {})
    check_document_path(event.path)
    check_attributes(event)
    return event


def stale(
    version: int | None, intake: int, last: DocumentChanged | UnreadableChange | None
) -> bool:
    """Whether a submission must not follow the newest change.

    Args:
        version: the publisher's `source_version`, if given.
        intake: its INTAKE sequence.
    """
    if last is None:
        return False
    if version is not None and last.source_version is not None and version != last.source_version:
        return version < last.source_version
    return intake <= last.intake


def encoded(body: Mapping[str, Any]) -> bytes:
    """A submission as it is sent."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="surrogatepass")


def content_of(data: bytes) -> dict[str, str]:
    """The field for a content: text where it is UTF-8, else base64."""
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(data).decode()}


def piece_body(path: str, data: bytes) -> dict[str, str]:
    """The submission of a piece of a document."""
    return {"op": "piece", "path": path, "data_base64": base64.b64encode(data).decode()}


def utf8(field: str, text: str) -> bytes:
    """Raises DocumentRefused `invalid_request`: the text has half a character."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _not_text(field) from None


def _not_text(field: str) -> DocumentRefused:
    return DocumentRefused("invalid_request", f"{field}: must be valid Unicode text")


def _invalid(reason: str) -> DocumentRefused:
    return DocumentRefused("invalid_request", reason)


def _unwrap(data: bytes) -> bytes:
    """The data of a CloudEvent in structured mode."""
    try:
        envelope: dict[str, Any] = json.loads(data)
        kind, version = envelope["type"], envelope["specversion"]
        if "data_base64" in envelope:
            body = base64.b64decode(envelope["data_base64"], validate=True)
        else:
            body = json.dumps(envelope["data"]).encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise DocumentRefused(
            "invalid_request", "a structured CloudEvent is an object with specversion, type, data"
        ) from None
    if version != "1.0" or kind != EVENT_TYPE:
        raise DocumentRefused("invalid_request", f"only CloudEvents 1.0 of type {EVENT_TYPE}")
    return body
