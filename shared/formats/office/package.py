"""What the Office formats share: a ZIP file of XML, read with limits, and the properties in it."""

import io
import zipfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final
from xml.parsers import expat

from shared.domain.errors import DocumentRefused
from shared.domain.formats import Format
from shared.formats.blocks import one_line

if TYPE_CHECKING:  # pydantic and numpy would double the process that only reads
    from shared.domain.events import Metadata

MAX_UNPACKED_BYTES: Final = 200 * 1024**2
"""Of all parts together, as they say of themselves."""
MAX_RATIO: Final = 200
"""Unpacked to packed bytes of a part above 1 MB; text of people stays below 30."""
_SMALL_BYTES: Final = 1024**2
_ENCRYPTED: Final = 0x1
_PROPERTIES: Final = {
    "title": "title",
    "creator": "author",
    "subject": "description",
    "description": "description",
    "keywords": "keywords",
    "keyword": "keywords",
    "language": "language",
    "created": "date",
    "creation-date": "date",
    "modified": "date",
    "date": "date",
}
"""Names of `docProps/core.xml`, of OpenDocument and of EPUB, and those of the metadata."""
_CREATED: Final = frozenset({"created", "creation-date"})
"""Dates that a later one replaces."""
_JOINED: Final = frozenset({"author", "description", "keywords"})
"""Of titles and languages the first one is the main one."""

_TELLING: Final[dict[str, Format]] = {
    "word/document.xml": "docx",
    "ppt/presentation.xml": "pptx",
    "xl/workbook.xml": "sheets",
    "xl/workbook.bin": "sheets",
}
_MIMETYPES: Final[dict[str, Format]] = {
    "application/epub+zip": "epub",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.presentation": "odt",
    "application/vnd.oasis.opendocument.spreadsheet": "sheets",
}


def unpack(data: bytes) -> zipfile.ZipFile:
    """The parts of a document.

    Raises:
        DocumentRefused: `corrupt`, `encrypted`; `too_large` for more than any person writes.
    """
    try:
        parts = zipfile.ZipFile(io.BytesIO(data))
        infos = parts.infolist()
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - zipfile raises whatever struct and the like do
        raise _corrupt() from None
    if any(info.flag_bits & _ENCRYPTED for info in infos):
        raise DocumentRefused("encrypted", "the document needs a password; save it without one")
    whole = sum(info.file_size for info in infos)
    if whole > MAX_UNPACKED_BYTES or any(map(_is_bomb, infos)):
        raise DocumentRefused("too_large", f"its parts have {whole:,} bytes when unpacked")
    return parts


def part(parts: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a part; none where there is no such part. Raises DocumentRefused `corrupt`."""
    try:
        return parts.read(name)
    except KeyError:
        return b""
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - and whatever zlib, bz2 and lzma do
        raise _corrupt() from None


def walk(
    data: bytes,
    opens: Callable[[str, dict[str, str]], None],
    closes: Callable[[str], None],
    text: Callable[[str], None],
) -> None:
    """Call for every element that opens and closes, and every text, in order.

    Names are local: prefixes are dropped, but for the `r:` of relations and the `svg:` of
    OpenDocument. Entities that a document declares are refused: Office programs write none.

    Raises:
        DocumentRefused: `corrupt`.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = lambda name, attributes: opens(
        _local(name), {_attribute(key): value for key, value in attributes.items()}
    )
    parser.EndElementHandler = lambda name: closes(_local(name))
    parser.CharacterDataHandler = text
    parser.EntityDeclHandler = _refuse_entity
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError):  # the latter of odd encodings
        raise _corrupt() from None


def properties(data: bytes) -> "Metadata":
    """Title, author, date and the like of `docProps/core.xml`, `meta.xml` or a package of EPUB."""
    found: dict[str, list[str]] = {}
    pieces: list[str] = []
    if not data:
        return {}

    def closes(name: str) -> None:
        wanted = _PROPERTIES.get(name)
        value = one_line("".join(pieces), 500) if wanted else ""
        if not wanted or not value:
            return
        values = found.setdefault(wanted, [])
        if wanted == "date" and name not in _CREATED:
            values[:] = [value]
        elif not values or (value not in values and wanted in _JOINED):
            values.append(value)

    walk(data, lambda _name, _attributes: pieces.clear(), closes, pieces.append)
    return {name: one_line(", ".join(values), 500) for name, values in found.items()}


def format_of(data: bytes) -> Format | None:
    """The format of a ZIP file by its parts; None for any other archive."""
    with unpack(data) as parts:
        names = set(parts.namelist())
        for name, format_ in _TELLING.items():
            if name in names:
                return format_
        mimetype = part(parts, "mimetype")[:100].strip().decode("latin-1")
    return _MIMETYPES.get(mimetype)


def numbered(parts: zipfile.ZipFile, before: str, after: str = ".xml") -> Iterator[str]:
    """Names such as `ppt/slides/slide7.xml`, in the order of their numbers."""
    found = []
    for name in parts.namelist():
        middle = name.removeprefix(before).removesuffix(after)
        if name == f"{before}{middle}{after}" and middle.isdecimal():
            found.append((int(middle), name))
    return (name for _, name in sorted(found))


def _is_bomb(info: zipfile.ZipInfo) -> bool:
    return info.file_size > max(_SMALL_BYTES, info.compress_size * MAX_RATIO)


def _local(name: str) -> str:
    space, _, local = name.rpartition(" ")
    return f"svg:{local}" if ":svg-" in space else local


def _attribute(name: str) -> str:
    space, _, local = name.rpartition(" ")
    return f"r:{local}" if space.endswith("/relationships") else local


def _refuse_entity(*_: object) -> None:
    raise DocumentRefused("corrupt", "it declares entities, which no Office program writes")


def _corrupt() -> DocumentRefused:
    return DocumentRefused("corrupt", "the file is damaged or cut off; save it anew")
