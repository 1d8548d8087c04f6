"""The checks of a submission, and its conversion to a change. Pure.

Refusals name fields and rules, never the values: a receipt may be read by others.
"""

import base64
import binascii
import codecs
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from shared.domain.addresses.web_address import is_web, normal
from shared.domain.errors import DocumentRefused
from shared.domain.events import Content, DocumentSubmitted, Linked, Ready, Reference, json_bytes
from shared.domain.faults import of_event
from shared.domain.ids import check_document_path, check_source, content_hash
from shared.domain.topology import KB, MAX_MESSAGE_BYTES

EVENT_TYPE: Final = "instep.document.submitted.v1"
STRUCTURED: Final = "application/cloudevents"
NAMES: Final = tuple(field.alias or name for name, field in DocumentSubmitted.model_fields.items())
"""The fields of a submission."""
MAX_METADATA_KEYS: Final = 64
MAX_METADATA_BYTES: Final = 8 * KB
MAX_TITLE_BYTES: Final = 1 * KB
MAX_MEDIA_TYPE: Final = 200
MAX_CONTENT_BYTES: Final = MAX_MESSAGE_BYTES - 64 * KB
"""Of chunks or a reference: they stay inside the event, and all else there takes below 64 KB."""
MAX_BYTES: Final = 100 * 1024**2
"""Of a document whose source has no limit of its own."""
MAX_VERSION: Final = 2**63 - 1
MAX_BATCH_ID: Final = 200


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """The limits of a source."""

    max_bytes: int = MAX_BYTES
    allow_references: tuple[str, ...] = ()
    allow_private: tuple[str, ...] = ()
    """Hosts of references that may be asked though their addresses are not public."""


@dataclass(frozen=True, slots=True)
class SubmittedContent:
    """The content of an upsert: bytes that are still to be placed, or ready for the event."""

    data: bytes | None
    content: Content | None
    content_hash: str
    size: int
    media_type: str | None = None
    """As the server of a reference told it."""


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
    _at_most("title", len(_utf8("title", title)), MAX_TITLE_BYTES, "bytes of UTF-8")
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


def check_content(event: DocumentSubmitted, limits: SourceLimits) -> SubmittedContent | None:
    """The content of the document; None for a deletion.

    Raises:
        DocumentRefused: `too_large`, `reference_not_allowed`, `invalid_request`.
    """
    if event.op == "delete":
        return None
    if event.ref is not None:
        return _reference(event.ref, limits)
    if event.chunks is not None:
        data = json.dumps([[c.heading, c.text] for c in event.chunks]).encode()
        content = Ready(chunks=event.chunks)
        size = json_bytes(content)
        _fits("chunks", size, min(limits.max_bytes, MAX_CONTENT_BYTES))
        return SubmittedContent(None, content, content_hash(data), size)
    if event.text is not None:
        return of_bytes("text", _utf8("text", event.text), limits)
    return of_bytes("data_base64", piece(event), limits)


def of_bytes(field: str, data: bytes, limits: SourceLimits) -> SubmittedContent:
    """The content of a document by its bytes. Raises DocumentRefused `too_large`."""
    check_size(field, len(data), limits)
    return SubmittedContent(data, None, content_hash(data), len(data))


def piece(event: DocumentSubmitted) -> bytes:
    """The bytes of `data_base64`. Raises DocumentRefused `invalid_request`."""
    return _base64(event.data_base64 or "")


def check_size(field: str, size: int, limits: SourceLimits) -> None:
    """Raises DocumentRefused `too_large`."""
    _fits(field, size, limits.max_bytes)


def web_reference(ref: Reference, limits: SourceLimits) -> str | None:
    """The address of a reference to the web in its one spelling; None: it is one to a file.

    Raises:
        DocumentRefused: `reference_not_allowed`, `too_large`.
    """
    if not is_web(ref.url):
        return None
    try:
        url = normal(ref.url)
    except ValueError as error:
        raise DocumentRefused("reference_not_allowed", f"ref.url: {error}") from None
    if not may_refer(url, limits):
        raise not_allowed()
    check_size("ref.size", ref.size or 0, limits)
    return url


def may_refer(url: str, limits: SourceLimits) -> bool:
    """Whether a source allows an address of the web, in its one spelling."""
    path = unquote(urlsplit(url).path).replace("\\", "/")
    if ".." in path.split("/"):
        return False  # servers differ in what they make of it
    prefixes = [normal(one) for one in limits.allow_references if is_web(one)]
    return any(url == one or url.startswith(f"{one.rstrip('/')}/") for one in prefixes)


def not_allowed() -> DocumentRefused:
    rule = "the source does not allow it; add its folder or address to allow_references"
    return DocumentRefused("reference_not_allowed", f"ref.url: {rule}")


def _reference(ref: Reference, limits: SourceLimits) -> SubmittedContent:
    if not any(_lies_below(ref.url, prefix) for prefix in limits.allow_references):
        raise not_allowed()
    _fits("ref.size", ref.size or 0, limits.max_bytes)
    content = Linked(ref=ref)
    _fits("ref", json_bytes(content), MAX_CONTENT_BYTES)
    digest = content_hash(f"{ref.url}\n{ref.etag}\n{ref.size}".encode())
    return SubmittedContent(None, content, digest, ref.size or 0)


def _lies_below(url: str, prefix: str) -> bool:
    parts = urlsplit(url)
    names = unquote(parts.path).split("/")
    if parts.scheme != "file" or parts.query or parts.fragment or ".." in names or "\0" in url:
        return False
    return url.startswith(prefix if prefix.endswith("/") else f"{prefix}/")


def _fits(field: str, size: int, limit: int) -> None:
    if size > limit:
        raise DocumentRefused("too_large", f"{field}: {size:,} bytes; the limit is {limit:,}")


def _utf8(field: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _not_text(field) from None


def _not_text(field: str) -> DocumentRefused:
    return DocumentRefused("invalid_request", f"{field}: must be valid Unicode text")


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise DocumentRefused("invalid_request", "data_base64: must be base64") from None


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
