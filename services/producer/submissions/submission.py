"""The content of a submission, and its conversion to that of a change. Pure.

Refusals name fields and rules, never the values: a receipt may be read by others.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from shared.domain.addresses.web_address import is_web, normal
from shared.domain.errors import DocumentRefused
from shared.domain.events import Content, DocumentSubmitted, Linked, Ready, Reference, json_bytes
from shared.domain.ids import content_hash
from shared.domain.submissions import MAX_BYTES, utf8
from shared.domain.topology import KB, MAX_MESSAGE_BYTES

MAX_CONTENT_BYTES: Final = MAX_MESSAGE_BYTES - 64 * KB
"""Of chunks or a reference: they stay inside the event, and all else there takes below 64 KB."""


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


def check_content(event: DocumentSubmitted, limits: SourceLimits) -> SubmittedContent | None:
    """The content of the document; None for a deletion.

    Raises:
        DocumentRefused: `too_large`, `reference_not_allowed`, `invalid_request`.
    """
    if event.deletes:
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
        return of_bytes("text", utf8("text", event.text), limits)
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


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise DocumentRefused("invalid_request", "data_base64: must be base64") from None
