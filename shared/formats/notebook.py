"""Jupyter notebooks to a title, metadata and blocks: cells in their order, each with its output."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from shared.domain.errors import DocumentRefused
from shared.formats import html, markdown
from shared.formats.blocks import Block, Content, clean, first_heading, one_line, titled

if TYPE_CHECKING:  # pydantic and numpy would double the process that only reads
    from shared.domain.events import Metadata

_ORIGIN: Final = "notebook"
_TEXTS: Final = ("text/markdown", "text/plain", "text/latex", "text/html")
"""Forms of one output, the best for reading first."""
_TEXTS_OF_3: Final = {"text/plain": "text", "text/latex": "latex", "text/html": "html"}
"""Their names in version 3 of the format."""


def read(text: str) -> Content:
    """Read a notebook of format 3 or 4. Raises DocumentRefused `corrupt`."""
    notebook = _loaded(text)
    blocks = [block for cell in _cells(notebook) for block in _cell(cell)]
    about = _mapping(notebook.get("metadata"))
    language = _mapping(about.get("kernelspec")).get("language")
    language = language or _mapping(about.get("language_info")).get("name")
    names = [_text(_mapping(one).get("name")) for one in _list(about.get("authors"))]
    given = {"author": ", ".join(filter(None, names)), "programming_language": _text(language)}
    metadata: Metadata = {name: one_line(value, 500) for name, value in given.items() if value}
    origins = dict.fromkeys(metadata, _ORIGIN)
    written = _text(about.get("title") or about.get("name"))
    title = one_line(written) or first_heading(blocks)
    if title:
        origins["title"] = _ORIGIN if written else "heading"
    if written and title != written:
        blocks.insert(0, Block("paragraph", clean(written)))
    return Content(title, metadata, blocks, origins)


def _loaded(text: str) -> dict[str, Any]:
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError):
        notebook = None
    if not isinstance(notebook, dict) or not {"cells", "worksheets"} & notebook.keys():
        raise DocumentRefused("corrupt", "the file is no notebook, or it is damaged; save it anew")
    return notebook


def _cells(notebook: dict[str, Any]) -> Iterator[dict[str, Any]]:
    sheets = _list(notebook.get("worksheets"))
    for holder in (notebook, *map(_mapping, sheets)):
        yield from map(_mapping, _list(holder.get("cells")))


def _cell(cell: dict[str, Any]) -> Iterator[Block]:
    kind = cell.get("cell_type")
    source = clean(_text(cell.get("source") or cell.get("input")))
    if kind == "markdown":
        yield from markdown.read(source)
    elif kind == "heading":
        level = cell.get("level")
        yield from titled(source, min(max(level, 1), 6) if isinstance(level, int) else 1)
    else:
        yield from _block("code" if kind == "code" else "paragraph", source)
    for output in map(_mapping, _list(cell.get("outputs"))):
        yield from _output(output)


def _output(output: dict[str, Any]) -> Iterator[Block]:
    if output.get("ename") or output.get("evalue"):
        error = f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}"
        yield from _block("paragraph", clean(error))
        return
    forms = {kind: output[name] for kind, name in _TEXTS_OF_3.items() if name in output}
    forms |= _mapping(output.get("data"))
    kind = next((one for one in _TEXTS if _text(forms.get(one)).strip()), None)
    if kind is None:
        return
    text = _text(forms[kind])
    if kind == "text/markdown":
        yield from markdown.read(clean(text))
    elif kind == "text/html":
        yield from html.read(text).blocks
    else:
        yield from _block("code", clean(text))


def _block(kind: Any, text: str) -> Iterator[Block]:
    if text.strip():
        yield Block(kind, text.strip("\n"))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    """A text, which notebooks also store as a list of its lines."""
    if isinstance(value, list):
        return "".join(map(_text, value)) if all(isinstance(v, str) for v in value) else ""
    return value if isinstance(value, str) else ""
