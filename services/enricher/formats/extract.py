"""The extraction of title, blocks and metadata from bytes of any known format."""

import re
from typing import TYPE_CHECKING, Final

from services.enricher.formats import frontmatter, html, markdown
from services.enricher.formats.blocks import (
    Block,
    Extracted,
    clean,
    first_heading,
    one_line,
    with_paths,
)
from services.enricher.formats.charset import decode
from shared.domain.errors import DocumentRefused
from shared.domain.formats import BY_ENDING, Format, ending

if TYPE_CHECKING:  # pydantic and numpy would double the process that only reads
    from shared.domain.events import Metadata

BY_MEDIA_TYPE: Final[dict[str, Format]] = {
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/json": "text",
    "application/x-ndjson": "text",
    "application/jsonl": "text",
    "application/yaml": "text",
    "application/toml": "text",
}
_ANY: Final = frozenset({"", "application/octet-stream", "binary/octet-stream"})
"""Media types without meaning: the ending decides."""
_MAGIC: Final = (
    (b"%PDF-", "PDF"),
    (b"PK\x03\x04", "a ZIP container such as DOCX"),
    (b"\xd0\xcf\x11\xe0", "an old Office file"),
    (b"\x1f\x8b", "compressed"),
    (b"{\\rtf", "RTF"),
)
_META_CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([a-zA-Z0-9_.:-]{2,40})", re.IGNORECASE
)
MAX_HARMLESS_BYTES: Final = 16 * 1024
"""Of plain text, which takes no time to speak of."""
MAX_HARMLESS_MARKDOWN: Final = 4 * 1024
"""Bytes: the worst Markdown of this size that `tests/support/hostile_text.py` knows takes 30 ms to
read, and 50 ms on a slow core; the other process costs a document 1 ms."""
MAX_HARMLESS_YAML: Final = 2 * 1024
"""Characters of front matter: the worst of them take 20 ms."""
_Found = tuple[str, list[Block], "Metadata", dict[str, str]]
"""Title, blocks, metadata, and where title and metadata come from."""
_PARAGRAPHS = re.compile(r"\n\n+")
_WORD = re.compile(r"\w")


def extract(data: bytes, *, path: str, media_type: str | None, title: str | None) -> Extracted:
    """Read a document.

    Args:
        data: the document, as it lies at its source.
        path: only its ending is used, and only without a telling media type.
        media_type: as an HTTP header has it; a charset parameter is believed unless the bytes
            say otherwise.
        title: given by the publisher of the document; wins over any title inside.

    Raises:
        DocumentRefused: `empty`, `no_text`, `unknown_format`, `wrong_encoding`, `corrupt`.
    """
    if not data.strip():
        raise DocumentRefused("empty", "the document is empty; it will be read when it has text")
    format_ = format_of(data, path, media_type)
    declared = _parameter(media_type)
    if format_ == "html" and not declared:
        match = _META_CHARSET.search(data[:2048])
        declared = match[1].decode("ascii") if match else None
    given = one_line(title or "")
    text = clean(decode(data, declared=declared))
    found, blocks, metadata, origins = _read(text, format_, given)
    if not any(_WORD.search(block.text) for block in blocks):
        raise DocumentRefused("no_text", "there is no text to search; images alone are not read")
    if given:
        origins.pop("title", None)
    return Extracted(given or found, with_paths(blocks), metadata, origins)


def _read(text: str, format_: Format, given: str) -> _Found:
    """What a clean text holds. A title that is not `given` stays in the text."""
    if format_ == "markdown":
        return _markdown(text, given)
    if format_ == "html":
        page = html.read(text)
        heading = first_heading(page.blocks)
        origins = {"title": "heading"} if heading else {}
        return heading or page.title, page.blocks, page.metadata, origins
    parts = (part.strip("\n") for part in _PARAGRAPHS.split(text))
    return "", [Block("paragraph", part) for part in parts if part], {}, {}


def _markdown(text: str, given: str) -> _Found:
    front = frontmatter.split(text)
    blocks = markdown.read(front.body)
    origins = dict.fromkeys(front.metadata, "front matter")
    kept = [front.text] if front.text else []
    title = one_line(front.title)
    if title:
        origins["title"] = "front matter"
        if front.title != (given or title):
            kept.insert(0, front.title)
    elif title := first_heading(blocks):
        origins["title"] = "heading"
    return title, [*(Block("paragraph", part) for part in kept), *blocks], front.metadata, origins


def is_harmless(data: bytes, format_: Format) -> bool:
    """Whether the document may be read in a process that does other work, too.

    Only code without pointers reads such a document, and for 0.1 s at most: no HTML, no guessing of
    encodings, little Markdown and YAML.
    """
    most = MAX_HARMLESS_MARKDOWN if format_ == "markdown" else MAX_HARMLESS_BYTES
    if len(data) > most or format_ == "html":
        return False
    try:
        text = clean(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return False
    if format_ == "text":
        return True
    return not markdown.has_html(text) and frontmatter.length(text) <= MAX_HARMLESS_YAML


def format_of(data: bytes, path: str, media_type: str | None) -> Format:
    """The format of the document. Raises DocumentRefused `unknown_format`."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            raise DocumentRefused(
                "unknown_format", f"the file is {name}, which is not read; publish its text instead"
            )
    bare = (media_type or "").partition(";")[0].strip().lower()
    if bare in BY_MEDIA_TYPE:
        return BY_MEDIA_TYPE[bare]
    by_ending = BY_ENDING.get(ending(path), "text")
    if bare == "text/plain":
        # the media type of servers that do not know Markdown
        return by_ending if by_ending == "markdown" else "text"
    if bare in _ANY or bare.startswith("text/"):
        return by_ending
    raise DocumentRefused(
        "unknown_format",
        "documents of this media type are not read; send text, Markdown or HTML",
    )


def _parameter(media_type: str | None) -> str | None:
    match = re.search(r";\s*charset=\"?([\w.:-]{2,40})", media_type or "", re.IGNORECASE)
    return match[1] if match else None
