"""The reader's promise: no word that a person sees in a document is lost when it is read.

`SEEN` has an independent reader for each format: another way from the bytes to the words than the
one that the enricher takes. What the manual leaves out by design, it leaves out, too.
"""

import io
import json
import re
import tomllib
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from email import message_from_bytes, policy
from typing import Any
from unittest.mock import patch
from xml.etree import ElementTree

import yaml
from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst import Directive, directives, roles
from docutils.statemachine import StringList
from markdown_it import MarkdownIt
from mdit_py_plugins.deflist import deflist_plugin
from mdit_py_plugins.footnote import footnote_plugin
from selectolax.lexbor import LexborHTMLParser

from services.enricher.chunking.chunk import Chunk
from shared.domain.formats import BY_ENDING, Format
from shared.formats.blocks import Extracted
from shared.formats.extract import extract

ENDINGS: dict[Format, str] = {format_: ending for ending, format_ in BY_ENDING.items()}
Cut = Callable[[Extracted], Iterable[Chunk]]

_WORD = re.compile(r"\w+")
_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]")


def words(text: str) -> list[str]:
    """Words, whatever their case and their spelling in Unicode."""
    return _WORD.findall(unicodedata.normalize("NFC", _INVISIBLE.sub("", text)).casefold())


def words_lost(format_: Format, data: bytes, cut: Cut | None = None) -> Counter[str]:
    """Words that the independent reader sees more often than the enricher keeps them.

    Args:
        format_: of the document.
        data: the document, in UTF-8.
        cut: makes chunks; the words are looked for in them, else in the blocks.
    """
    found = extract(data, path=f"x{ENDINGS[format_]}", media_type=None, title=None)
    kept = [found.title, *_written(found.metadata)]
    if cut is None:
        kept += [block.text for block in found.blocks]
    else:
        chunks = list(cut(found))
        kept += [chunk.text for chunk in chunks]
        kept += {heading for chunk in chunks for heading in chunk.heading}
    return Counter(words(SEEN[format_](data))) - Counter(words("\n".join(kept)))


def _written(value: Any) -> list[str]:
    """Every key and value, as text."""
    if isinstance(value, Mapping):
        return [text for pair in value.items() for each in pair for text in _written(each)]
    if isinstance(value, list):
        return [text for each in value for text in _written(each)]
    return ["" if value is None else str(value)]


# -- plain text ------------------------------------------------------------------------------------


def seen_in_text(data: bytes) -> str:
    return " ".join(data.decode().split())


# -- HTML ------------------------------------------------------------------------------------------

HIDDEN = ["script", "style", "template", "noscript", "iframe", "svg", "nav", "head"]
"""Elements that the manual leaves out."""
_BETWEEN_WORDS = re.compile(
    r"(</?(?!(?:a|abbr|b|code|del|em|font|i|ins|kbd|mark|q|s|small|span|strong|sub|sup|u|wbr)\b)"
    r"[a-z][^<>]*>)",
    re.IGNORECASE,
)


def seen_in_html(text: str) -> str:
    tree = LexborHTMLParser(_BETWEEN_WORDS.sub(r" \1 ", text))
    tree.strip_tags(HIDDEN)
    for image in tree.css("img[alt]"):
        image.replace_with(f" {image.attributes['alt'] or ''} ")
    return tree.body.text(separator="") if tree.body else ""


# -- Markdown --------------------------------------------------------------------------------------

_FRONT = re.compile(r"\A(---|\+\+\+)\n(.*?)^(?:\1|\.\.\.)$", re.MULTILINE | re.DOTALL)
_MARKS = r"^((?:[\s>*+\-\d.):~]|\[\^[^\s\]]*\]:)*)"
_LIQUID = re.compile(_MARKS + r"\{%(?:(?!%\}).)*%\}$", re.MULTILINE)
_HEADING_ID = re.compile(r"\{#[^\s{}]+\}</h")


def seen_in_markdown(data: bytes) -> str:
    text = data.decode().replace("\r\n", "\n").replace("\r", "\n")
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    front = _FRONT.match(text)
    values: list[str] = []
    if front and (loaded := _loaded(front[1], front[2])) is not None:
        values, text = [v for each in loaded.values() for v in _written(each)], text[front.end() :]
    rendered = _renderer().render(_LIQUID.sub(r"\1<!-- -->", text))
    return "\n".join([*values, seen_in_html(_HEADING_ID.sub("</h", rendered))])


def _loaded(fence: str, raw: str) -> Mapping[str, Any] | None:
    """The values of front matter as they are written; None if it is none."""
    try:
        yaml.safe_load(raw)
        loaded = tomllib.loads(raw) if fence == "+++" else yaml.load(raw, yaml.BaseLoader)
    except (ValueError, yaml.YAMLError):
        return None
    return loaded if isinstance(loaded, Mapping) else None


def _renderer() -> MarkdownIt:
    made = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    made.use(footnote_plugin).use(deflist_plugin)
    for rule in ("footnote_ref", "footnote_anchor"):
        made.add_render_rule(rule, lambda *_: "")  # numbers that the document does not have
    return made


# -- mail and notebooks ----------------------------------------------------------------------------


def seen_in_mail(data: bytes) -> str:
    """What the parser of modern messages finds; of two forms of one text, the plain one."""
    return "\n".join(_of_message(message_from_bytes(data, policy=policy.default)))


def _of_message(message: Any) -> Iterator[str]:
    for name in ("Subject", "From", "To", "Cc", "Bcc"):
        yield from map(str, message.get_all(name, []))
    yield from _of_part(message)


def _of_part(part: Any) -> Iterator[str]:
    kind, inner = part.get_content_type(), part.get_payload()
    if kind == "message/rfc822" and isinstance(inner, list):
        yield from _of_message(inner[0])
    elif kind == "multipart/alternative" and isinstance(inner, list):
        said = ["\n".join(_of_part(one)) for one in inner]
        yield next((one for one in said if words(one)), "")
    elif kind.startswith("message/") and isinstance(inner, list):
        yield from (f"{name}: {value}" for one in inner for name, value in one.items())
    elif isinstance(inner, list):
        for one in inner:
            yield from _of_part(one)
    elif part.get_content_maintype() == "multipart":  # a broken one
        yield inner
    elif part.is_attachment() or part.get_filename() or part.get_content_maintype() != "text":
        yield part.get_filename() or ""
        yield kind
    else:
        text = part.get_content()
        yield seen_in_html(text) if kind == "text/html" else text


def seen_in_notebook(data: bytes) -> str:
    """Sources and outputs of the cells of a notebook of format 4."""
    seen = []
    for cell in json.loads(data)["cells"]:
        source = "".join(cell["source"])
        is_markdown = cell["cell_type"] == "markdown"
        seen.append(seen_in_markdown(source.encode()) if is_markdown else source)
        for output in cell.get("outputs", []):
            seen += [output.get("ename", ""), output.get("evalue", "")]
            texts = [output.get("text", ""), output.get("data", {}).get("text/plain", "")]
            seen += ["".join(text) for text in texts]
    return "\n".join(seen)


# -- data ------------------------------------------------------------------------------------------


def seen_in_json(data: bytes) -> str:
    """Every key and scalar; a document, or one a line."""
    text = data.decode("utf-8-sig")
    try:
        return "\n".join(_keys_and_values(_json(text)))
    except ValueError:
        lines = [line for line in text.split("\n") if line.strip()]
        return "\n".join(each for line in lines for each in _keys_and_values(_json(line)))


class _Object(list):
    """Pairs of keys and values."""


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_Object, parse_int=str, parse_float=str)


def _keys_and_values(value: Any) -> Iterator[str]:
    if isinstance(value, _Object):
        for key, each in value:
            yield key
            yield from _keys_and_values(each)
    elif isinstance(value, list):
        for each in value:
            yield from _keys_and_values(each)
    else:
        yield value if isinstance(value, str) else json.dumps(value)


def seen_in_xml(data: bytes) -> str:
    root = ElementTree.fromstring(data)
    values = [value for element in root.iter() for value in element.attrib.values()]
    return "\n".join([*root.itertext(), *values])


# -- reStructuredText ------------------------------------------------------------------------------


def seen_in_rst(data: bytes) -> str:
    """The text of docutils' document; directives and roles that it does not know show theirs."""
    quiet = {
        **{"report_level": 5, "halt_level": 6, "warning_stream": io.StringIO()},
        **{"file_insertion_enabled": False, "raw_enabled": False},
    }
    with patch.object(directives, "directive", _directive), patch.object(roles, "role", _role):
        tree = publish_doctree(data.decode(), settings_overrides=quiet)
    for unseen in list(tree.findall(_is_unseen)):
        unseen.parent.remove(unseen)
    seen = [node.astext() for node in tree.findall(nodes.Text) if "replacement" not in str(node)]
    return "\n".join(seen + [image["alt"] for image in tree.findall(nodes.image) if "alt" in image])


def _is_unseen(node: nodes.Node) -> bool:
    if not isinstance(node, nodes.Element):
        return False
    kinds = (nodes.comment, nodes.system_message, nodes.substitution_definition, nodes.raw)
    numbers = (nodes.label, nodes.footnote_reference)  # those that docutils makes
    is_made = isinstance(node, numbers) or "contents" in node.get("classes", ())
    return node.parent is not None and (isinstance(node, kinds) or is_made)


class _AnyOption(dict[str, Any]):
    def __missing__(self, _: str) -> Any:
        return directives.unchanged


class _Nested(Directive):
    """Shows its arguments and its body, not its options."""

    option_spec = _AnyOption({"class": directives.unchanged})

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        shown = nodes.container()
        self.state.nested_parse(StringList([*self.arguments, ""], ""), 0, shown)
        self.state.nested_parse(self.content, self.content_offset, shown)
        return [shown]


class _Unseen(_Nested):
    """Shows nothing."""

    def run(self) -> list[nodes.Node]:
        return []


class _Code(_Nested):
    """Shows its body as it is."""

    def run(self) -> list[nodes.Node]:
        return [nodes.literal_block("", "\n".join(self.content))]


DIRECTIVES_OF_CODE = {"code", "code-block", "sourcecode", "productionlist", "prompt", "doctest"}
UNSEEN_DIRECTIVES = {"index", "highlight", "tabularcolumns", "literalinclude", "include", "raw"}
"""Those that the manual leaves out."""


def _directive(name: str, language: Any, document: Any) -> Any:
    if name in UNSEEN_DIRECTIVES:
        return _Unseen, []
    if name in DIRECTIVES_OF_CODE:
        return _Code, []
    found = KNOWN_DIRECTIVE(name, language, document)
    return found if found[0] else (_Nested, [])


def _role(*_: Any) -> Any:
    return _shown_by_role, []


def _shown_by_role(_name: str, _raw: str, text: str, *_: Any) -> Any:
    """The text of a role, without a target after it."""
    text = re.sub(r"(.)\s+<[^<>]*>$", r"\1", nodes.unescape(text), flags=re.DOTALL)
    return [nodes.emphasis(text, text)], []


KNOWN_DIRECTIVE = directives.directive


# -- files that are not text -----------------------------------------------------------------------


def seen_in_pdf(data: bytes) -> str:
    from pypdf import PdfReader

    text = "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages)
    return re.sub(
        r"(?<=\w)-\s*\n(?=[^\W\d_])", "", text
    )  # words that are parted at an end of a line


def seen_in_docx(data: bytes) -> str:
    return "\n".join(_paragraphs(_part(data, "word/document.xml"), "p", "t"))


def seen_in_pptx(data: bytes) -> str:
    """Slides and notes, without the placeholders that repeat on every slide."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [name for name in archive.namelist() if re.search(r"/(slides|notesSl)\w*/\w", name)]
    roots = [_part(data, name) for name in names if name.endswith(".xml")]
    for root in roots:
        for parent in list(root.iter()):
            for shape in list(parent):
                kinds = {each.get("type") for each in shape.iter() if _local(each) == "ph"}
                if _local(shape) == "sp" and kinds & {"sldNum", "dt", "ftr", "hdr"}:
                    parent.remove(shape)
    return "\n".join(text for root in roots for text in _paragraphs(root, "p", "t"))


def seen_in_open_document(data: bytes) -> str:
    root = _part(data, "content.xml")
    for parent in list(root.iter()):
        for each in list(parent):
            if _local(each) == "tracked-changes":
                parent.remove(each)
    found = [each for each in root.iter() if _local(each) in ("p", "h")]
    return "\n".join(" ".join(each.itertext()) for each in found)


def seen_in_book(data: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        pages = [name for name in archive.namelist() if name.endswith("html")]
        return "\n".join(seen_in_html(archive.read(name).decode()) for name in pages)


def seen_in_workbook(data: bytes) -> str:
    import openpyxl

    book = openpyxl.load_workbook(io.BytesIO(data), data_only=True)
    rows = (row for sheet in book for row in sheet.iter_rows(values_only=True))
    values = (str(value) for row in rows for value in row if value is not None)
    return "\n".join([*book.sheetnames, *values])


_RTF_UNSEEN = re.compile(
    r"\{\\(?:\*|fonttbl|colortbl|stylesheet|info|pict)[^{}]*(?:\{[^{}]*\}[^{}]*)*\}"
)
_RTF_WORD = re.compile(r"\\([a-z]+)(-?\d+)?[ ]?|\\'([0-9a-f]{2})|\\(.)|[{}\r\n]", re.IGNORECASE)


def seen_in_rtf(data: bytes) -> str:
    """Of RTF in Windows-1252, with `?` in place of each character that is told by its number."""

    def one(mark: re.Match[str]) -> str:
        word, number, byte, escaped = mark.groups()
        if byte:
            return bytes.fromhex(byte).decode("cp1252", "replace")
        if word == "u":
            return chr(int(number) % 65536)
        if word in ("par", "line", "tab", "cell", "row"):
            return "\n"
        return escaped or ""

    text = _RTF_UNSEEN.sub("", data.decode("ascii"))
    return _RTF_WORD.sub(one, re.sub(r"(\\u-?\d+ ?)\?", r"\1", text))


def _part(data: bytes, name: str) -> ElementTree.Element:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return ElementTree.fromstring(archive.read(name))


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _paragraphs(root: ElementTree.Element, paragraph: str, run: str) -> Iterator[str]:
    for one in root.iter():
        if _local(one) == paragraph:
            yield "".join(
                each.text or "" if _local(each) == run else " " * (_local(each) in ("br", "tab"))
                for each in one.iter()
            )


SEEN: dict[Format, Callable[[bytes], str]] = {
    "rst": seen_in_rst,
    "json": seen_in_json,
    "xml": seen_in_xml,
    "settings": seen_in_text,
    "code": seen_in_text,
    "mail": seen_in_mail,
    "notebook": seen_in_notebook,
    "text": seen_in_text,
    "markdown": seen_in_markdown,
    "html": lambda data: seen_in_html(data.decode()),
    "csv": seen_in_text,
    "pdf": seen_in_pdf,
    "docx": seen_in_docx,
    "pptx": seen_in_pptx,
    "odt": seen_in_open_document,
    "sheets": seen_in_workbook,
    "epub": seen_in_book,
    "rtf": seen_in_rtf,
}
"""Of AsciiDoc there is no other reader; its tests know the words that they write."""
