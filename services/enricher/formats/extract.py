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
_XML_ENCODING = re.compile(rb"\s*<\?xml\s[^>]{0,200}?encoding\s*=\s*[\"']([a-zA-Z0-9_.:-]{2,40})")
_HEAD_BYTES: Final = 16 * 1024
_META_CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([a-zA-Z0-9_.:-]{2,40})", re.IGNORECASE
)
MAX_HARMLESS_BYTES: Final = 16 * 1024
"""The worst text of this size that `tests/support/hostile_text.py` knows takes 50 ms to read on a
slow core."""
MAX_HARMLESS_YAML: Final = 2 * 1024
"""Characters of front matter: the worst of them take 20 ms."""
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
    text, guess = decode(data, declared=_parameter(media_type) or _declared(data, format_))
    given = one_line(title or "")
    found, blocks, metadata, origins = _read(text, format_, given)
    if guess:
        origins["encoding"] = guess
    if not any(_WORD.search(block.text) for block in blocks):
        raise DocumentRefused("no_text", "there is no text to search; images alone are not read")
    return Extracted(given or found, with_paths(blocks), metadata, origins)


def _read(
    text: str, format_: Format, given: str
) -> "tuple[str, list[Block], Metadata, dict[str, str]]":
    """Title, blocks and metadata of a text, and where they come from; `given` is a better title."""
    if format_ == "html":  # as it is: NFC makes one character of `>` and a mark after it
        page = html.read(text)
        heading = first_heading(page.blocks)
        return heading or page.title, page.blocks, *_titled(page, heading, given)
    text = clean(text)
    if format_ == "markdown":
        metadata, body = frontmatter.split(text)
        blocks = markdown.read(body)
        named = metadata.pop("title", None)
        return one_line(str(named or "")) or first_heading(blocks), blocks, metadata, {}
    parts = (part.strip("\n") for part in _PARAGRAPHS.split(text))
    return "", [Block("paragraph", part) for part in parts if part], {}, {}


def _titled(page: html.Page, heading: str, given: str) -> "tuple[Metadata, dict[str, str]]":
    """Metadata and origins; a `title` element that is not the title is kept as metadata."""
    metadata, origins = dict(page.metadata), dict(page.origins)
    if not given and (heading or page.title):
        origins["title"] = "heading" if heading else "title element"
    if page.title not in ("", given or heading or page.title):
        metadata["page_title"], origins["page_title"] = page.title, "title element"
    return metadata, origins


def is_harmless(data: bytes, format_: Format) -> bool:
    """Whether the document may be read in a process that does other work, too.

    Only code without pointers reads such a document, and for 0.1 s at most: no HTML, no guessing of
    encodings, little YAML.
    """
    if len(data) > MAX_HARMLESS_BYTES or format_ == "html":
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


def _declared(data: bytes, format_: Format) -> str | None:
    """The charset that the document names: that of its XML declaration, or of a page's `meta`."""
    match = _XML_ENCODING.match(data)
    if match is None and format_ == "html":
        match = _META_CHARSET.search(data[:_HEAD_BYTES])
    return match[1].decode("ascii") if match else None


def _parameter(media_type: str | None) -> str | None:
    match = re.search(r";\s*charset=\"?([\w.:-]{2,40})", media_type or "", re.IGNORECASE)
    return match[1] if match else None
