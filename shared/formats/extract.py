"""The extraction of title, blocks and metadata from bytes of any known format."""

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, get_args

from shared.domain.errors import DocumentRefused
from shared.domain.formats import BY_ENDING, Format, ending
from shared.domain.metadata import OF_DOCUMENT
from shared.formats import frontmatter, html, markdown, records
from shared.formats.blocks import (
    Block,
    Content,
    Extracted,
    clean,
    first_heading,
    one_line,
    only_heading,
    with_paths,
)
from shared.formats.charset import declared_in, decode
from shared.formats.office import package

_OOXML: Final = "application/vnd.openxmlformats-officedocument"
BY_MEDIA_TYPE: Final[dict[str, Format]] = {
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/json": "json",
    "application/geo+json": "json",
    "application/x-ndjson": "json",
    "application/jsonl": "json",
    "application/xml": "xml",
    "text/xml": "xml",
    "text/x-rst": "rst",
    "text/asciidoc": "adoc",
    "text/x-asciidoc": "adoc",
    "text/prs.fallenstein.rst": "rst",
    "application/rss+xml": "xml",
    "application/atom+xml": "xml",
    "application/yaml": "settings",
    "application/toml": "settings",
    "text/csv": "csv",
    "text/tab-separated-values": "csv",
    "application/pdf": "pdf",
    "message/rfc822": "mail",
    "application/x-ipynb+json": "notebook",
    "application/rtf": "rtf",
    "text/rtf": "rtf",
    "application/epub+zip": "epub",
    "application/vnd.ms-excel": "sheets",
    "application/vnd.oasis.opendocument.spreadsheet": "sheets",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.presentation": "odt",
    f"{_OOXML}.wordprocessingml.document": "docx",
    f"{_OOXML}.presentationml.presentation": "pptx",
    f"{_OOXML}.spreadsheetml.sheet": "sheets",
}
READERS: Final[dict[str, int]] = dict.fromkeys(get_args(Format), 2) | {
    **dict.fromkeys(("html", "pdf", "docx", "sheets", "rtf", "epub"), 3),
    **dict.fromkeys(("pptx", "odt"), 4),
}
"""Version of the reader of each `Format`. Raise it when documents are read otherwise: those that
were read before are read again then (`services/enricher/recut.py`)."""
ANY: Final = frozenset({"", "application/octet-stream", "binary/octet-stream"})
"""Media types without meaning: the ending decides."""
BINARY: Final[Mapping[Format, str]] = {
    **{name: name for name in ("pdf", "epub")},
    **{name: f"office.{name}" for name in ("docx", "pptx", "sheets", "odt", "rtf")},
}
"""Formats that their first bytes tell, and the module that reads each from bytes."""
_FROM_BYTES: Final[Mapping[Format, str]] = {**BINARY, "mail": "mail"}
_FROM_TEXT: Final[Mapping[Format, str]] = {
    **{"notebook": "notebook", "json": "data.json", "xml": "data.xml"},
    **{"settings": "source", "code": "source", "rst": "markup.rst", "adoc": "markup.adoc"},
}
"""Formats without front matter or pages of HTML, and the module that reads each from a text."""
_LINES: Final[frozenset[Format]] = frozenset({"text", "settings", "code"})
"""Formats that are read by their lines."""
_ZIP: Final = b"PK\x03\x04"
_OLD_OFFICE: Final = b"\xd0\xcf\x11\xe0"
_ARCHIVES: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"Rar!", "RAR"),
)
_PAGE: Final = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*<")
"""The beginning of HTML. Programs that export tables call HTML and CSV `.xls`, too."""
_PROTECTED: Final = "EncryptedPackage".encode("utf-16-le")
"""Name of the part that holds a protected document, in a container of old Office files."""
_TELLING: Final = (b"%PDF-", b"{\\rtf", _ZIP, _OLD_OFFICE, *(magic for magic, _ in _ARCHIVES))
_PDF_WITHIN: Final = 1024
"""Bytes before the beginning of a PDF that readers skip."""
MAX_HARMLESS_BYTES: Final = 16 * 1024
"""Of plain text, which takes no time to speak of."""
MAX_HARMLESS_MARKDOWN: Final = 8 * 1024
"""Bytes: the worst of 200 repeated patterns takes 121 ms to read at this size, 61 at half of it.
With a limit above all documents, `bench/pairs.py` (120 edits of 4.5 KB on average) saw p95 159
instead of 209 ms and 180 instead of 195 ms of processor an edit."""
MAX_HARMLESS_YAML: Final = 2 * 1024
"""Characters of front matter: the worst of them take 20 ms."""
_FILE_NAME: Final = re.compile(
    r"\A(?:Microsoft (?:Word|Excel|PowerPoint) - |untitled\Z|PowerPoint[- ]Presentation\Z"
    r"|[^\n]{0,500}\.(?:docx?|wpd|rtf|od[tps]|pptx?|xlsx?|tex|dvi|e?ps|pdf|indd|qxd|pages|pmd|fm)"
    r"(?:\s?\[[^\]\n]{0,100}\])?\Z)",
    re.IGNORECASE,
)
"""Titles that programs make from the name of the file, or for want of a title."""
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
    format_ = format_of(data, path, media_type)
    given = one_line(title or "")
    found = _read(data, format_, _parameter(media_type), given)
    if not any(_WORD.search(block.text) for block in found.blocks):
        raise DocumentRefused("no_text", "there is no text to search; images alone are not read")
    origins = {k: v for k, v in found.origins.items() if k != "title" or not given}
    return Extracted(given or found.title, with_paths(found.blocks), found.metadata, origins)


def _read(data: bytes, format_: Format, declared: str | None, given: str) -> Content:
    """
    Args:
        given: a better title than any in the document; what it replaces stays as text.
    """
    if format_ in _FROM_BYTES:
        return _with_properties(
            _module(_FROM_BYTES[format_]).read(data), are_of_programs=format_ in BINARY
        )
    text, guess = decode(data, declared=declared or declared_in(data, is_html=format_ == "html"))
    found = _read_text(text, format_, given)
    origins = dict(found.origins) | ({"encoding": guess} if guess else {})
    return Content(found.title, found.metadata, found.blocks, origins)


def _module(name: str) -> Any:
    """Imported when the first document needs it: each costs memory and time."""
    return import_module(f"shared.formats.{name}")


def _read_text(text: str, format_: Format, given: str) -> Content:
    if format_ == "html":  # as it is: NFC makes one character of `>` and a mark after it
        return _html(html.read(text), given)
    if format_ in _FROM_TEXT:
        found: Content = _module(_FROM_TEXT[format_]).read(text)
        return found
    text = clean(text)
    if format_ == "markdown":
        return _markdown(text, given)
    if format_ == "csv":
        return Content("", {}, records.read(text))
    parts = (part.strip("\n") for part in _PARAGRAPHS.split(text))
    return Content("", {}, [Block("paragraph", part) for part in parts if part])


def _html(page: html.Page, given: str) -> Content:
    """A `title` element that is not the title is kept as metadata."""
    heading = first_heading(page.blocks)
    metadata, origins = dict(page.metadata), dict(page.origins)
    title = heading or page.title
    if title:
        origins["title"] = "heading" if heading else "title element"
    if page.title not in ("", given or title):
        metadata["page_title"], origins["page_title"] = page.title, "title element"
    return Content(title, metadata, page.blocks, origins)


def _with_properties(found: Content, *, are_of_programs: bool) -> Content:
    """Metadata and title are properties of the document; without a title, a heading above all.

    Args:
        are_of_programs: a program that prints a document may put the name of its file where the
            title belongs. That name is kept as metadata.
    """
    metadata, named = dict(found.metadata), found.title
    if are_of_programs and _FILE_NAME.match(named):
        metadata["title_property"], named = named, ""
    origins = dict.fromkeys(metadata, "properties")
    title = named or only_heading(found.blocks)
    if title:
        origins["title"] = "properties" if named else "heading"
    origins |= found.origins
    return Content(title, metadata, found.blocks, origins)


def _markdown(text: str, given: str) -> Content:
    front = frontmatter.split(text)
    blocks = markdown.read(front.body)
    origins = dict.fromkeys(front.metadata.keys() - OF_DOCUMENT, "front matter")
    kept = [front.text] if front.text else []
    title = one_line(front.title)
    if title:
        origins["title"] = "front matter"
        if front.title != (given or title):
            kept.insert(0, front.title)
    elif title := first_heading(blocks):
        origins["title"] = "heading"
    whole = [*(Block("paragraph", part) for part in kept), *blocks]
    return Content(title, front.metadata, whole, origins)


def is_harmless(data: bytes, format_: Format | None) -> bool:
    """Whether the document may be read in a process that does other work, too.

    Only code without pointers reads such a document, and for about 0.1 s at most: no HTML, no
    guessing of encodings, little Markdown and YAML, files of code and settings as text. Nothing is
    unpacked to find out.

    Args:
        format_: as `named_format` tells.
    """
    most = MAX_HARMLESS_MARKDOWN if format_ == "markdown" else MAX_HARMLESS_BYTES
    if len(data) > most or format_ not in _LINES | {"markdown"} or data.startswith(_TELLING):
        return False
    try:
        text = clean(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return False
    if format_ in _LINES:
        return True
    return not markdown.has_html(text) and frontmatter.length(text) <= MAX_HARMLESS_YAML


def format_of(data: bytes, path: str, media_type: str | None) -> Format:
    """The format of the document: what its first bytes tell wins over media type and ending.

    Raises:
        DocumentRefused: `empty`, `unknown_format`; `corrupt` and `encrypted` where the bytes tell.
    """
    if not data.strip():
        raise DocumentRefused("empty", "the document is empty; it will be read when it has text")
    named = named_format(path, media_type)
    told = _format_of_bytes(data, named)
    if told is not None:
        return told
    if named is None:
        raise DocumentRefused(
            "unknown_format",
            "documents of this media type are not read; the manual lists the formats",
        )
    if ending(path) == ".xls" and named == "sheets":
        return "html" if _PAGE.match(data) else "csv"
    if named in BINARY:
        raise DocumentRefused("corrupt", "the file is not of the format that its name tells")
    return named


def _format_of_bytes(data: bytes, named: Format | None) -> Format | None:
    """The format that the first bytes tell; None where they tell nothing."""
    if b"%PDF-" in data[:_PDF_WITHIN] and (named == "pdf" or data.startswith(b"%PDF-")):
        return "pdf"
    if data.startswith(b"{\\rtf"):
        return "rtf"
    if data.startswith(_ZIP):
        return _format_of_zip(data, named)
    if data.startswith(_OLD_OFFICE):
        return _format_of_old_office(data, named)
    for magic, name in _ARCHIVES:
        if data.startswith(magic):
            raise _archive(name)
    return None


def _format_of_zip(data: bytes, named: Format | None) -> Format:
    found = package.format_of(data)
    if found is not None:
        return found
    if named in ("docx", "pptx", "sheets", "odt", "epub"):
        return named
    raise _archive("ZIP")


def _format_of_old_office(data: bytes, named: Format | None) -> Format:
    """Old Office files and protected new ones are containers of the same kind."""
    if _PROTECTED in data:
        raise DocumentRefused("encrypted", "the document needs a password; save it without one")
    if named == "sheets":
        return named
    raise DocumentRefused(
        "unknown_format", "the file is of an old Office program; save it as DOCX or PPTX"
    )


def _archive(name: str) -> DocumentRefused:
    return DocumentRefused(
        "unknown_format", f"the file is an archive ({name}), which is not unpacked"
    )


def named_format(path: str, media_type: str | None) -> Format | None:
    """The format by media type and ending; None for a media type that is not read."""
    bare = (media_type or "").partition(";")[0].strip().lower()
    if bare in BY_MEDIA_TYPE:
        return BY_MEDIA_TYPE[bare]
    by_ending = BY_ENDING.get(ending(path), "text")
    if bare == "text/plain":
        # the media type of servers that do not know the format
        return by_ending if by_ending in _LINES | {"markdown", "rst", "adoc"} else "text"
    return by_ending if bare in ANY or bare.startswith("text/") else None


def _parameter(media_type: str | None) -> str | None:
    match = re.search(r";\s*charset=\"?([\w.:-]{2,40})", media_type or "", re.IGNORECASE)
    return match[1] if match else None
