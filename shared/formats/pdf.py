"""PDF to a title, metadata and blocks, by PDFium.

PDFium gives the lines of a page in reading order. A line is a heading where the outline of the
document names it, or, in a document without an outline, where its letters are larger than those of
most of the text. Below the headings, `page N` ends the path of every block.
"""

import ctypes
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from shared.domain.errors import DocumentRefused
from shared.formats.blocks import Block, Content, clean, one_line, ranges, titled

if TYPE_CHECKING:  # pydantic and numpy would double the process that only reads
    from shared.domain.events import Metadata

PAGE_LEVEL: Final = 7
"""Of the heading `page N`: below every other."""
_LARGER: Final = 1.15
"""A heading's letters are at least so many times as large as those of most of the text."""
_LONGEST_HEADING: Final = 200
"""Characters; longer large text is a paragraph."""
_APART: Final = 1.35
"""A paragraph ends where the next line is more than so many usual distances below."""
_CLOSE: Final = 2.0
"""Lines of one paragraph are at most so many sizes of their letters apart, unless all are wider."""
_SHALLOWEST: Final = 5
"""Most levels of headings that letters tell."""
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_HYPHEN: Final = re.compile("[\x02\ufffe]")
"""PDFium's mark of a word that was parted at the end of a line; the parts are joined already."""
_NUMBER: Final = re.compile("[-\u2013\u2014]?\\s{0,3}(\\d{1,4})\\s{0,3}[-\u2013\u2014]?")
_FEWEST_NUMBERS: Final = 3
"""Pages that must be numbered alike before a number counts as that of a page."""
_NUMBERED: Final = re.compile(r"\A(?:\d{1,4}|[A-Z])(?:\.\d{1,4}){0,9}\.?\s{1,9}")
"""The number of a heading, which many outlines leave out."""
_LEADER: Final = re.compile(r"(?: ?\.){5,}")
"""The dots from an entry of a table of contents to its page."""
_LEADS: Final = " … "
_BULLET: Final = re.compile(r"[•‣▪●○◦\u2013\u2014*-]\s|\(?\d{1,3}[.)]\s")
_DATE: Final = re.compile(
    r"D?:?(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?)?)?(?:(Z)|([+-]\d\d)'?(\d\d)?)?"
)
_PROPERTIES: Final = {"Author": "author", "Subject": "description", "Keywords": "keywords"}
_NAMES: Final = ("Title", *_PROPERTIES, "CreationDate", "ModDate")
_PASSWORD: Final = 4
"""PDFium's number for a document that needs one."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a page: its size in points, and the distance to the page's foot."""

    text: str
    size: float
    y: float


def read(data: bytes) -> Content:
    """Read a document.

    Raises:
        DocumentRefused: `encrypted`, `corrupt`; `no_text` where every page is an image.
    """
    import pypdfium2 as pdfium

    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        raise _refusal(error) from None
    try:
        pages = [_page(document, n) for n in range(len(document))]
        outline = _outline(document)
        properties = {name: _property(document, name) for name in _NAMES}
    finally:
        document.close()
    pages = _without_numbers(pages)
    bare = [n for n, lines in enumerate(pages, 1) if lines is not None and not lines]
    damaged = [n for n, lines in enumerate(pages, 1) if lines is None]
    if len(bare) + len(damaged) == len(pages):
        raise _without_text(len(pages), len(damaged))
    metadata = _described(properties)
    seen = {"pages_without_text": ranges(bare), "pages_damaged": ranges(damaged)}
    told: Metadata = {name: numbers for name, numbers in seen.items() if numbers}
    blocks = list(_blocks([lines or [] for lines in pages], outline))
    title = one_line(properties.get("Title", ""))
    return Content(title, metadata | told, blocks, dict.fromkeys(told, "pages"))


def _without_numbers(pages: Sequence[list[_Line] | None]) -> list[list[_Line] | None]:
    """The pages without the printed numbers at their edges, which count up with the pages.

    A page that has nothing but its number keeps it: it is no scan.
    """
    marks = [
        (n, at, int(match[1]) - n)
        for n, lines in enumerate(pages)
        if lines and len(lines) > 1
        for at in (0, len(lines) - 1)
        if (match := _NUMBER.fullmatch(lines[at].text))
    ]
    often = Counter(ahead for _, _, ahead in marks)
    gone = {(n, at) for n, at, ahead in marks if often[ahead] >= _FEWEST_NUMBERS}
    return [
        lines and [line for at, line in enumerate(lines) if (n, at) not in gone]
        for n, lines in enumerate(pages)
    ]


def _refusal(error: Exception) -> DocumentRefused:
    if getattr(error, "err_code", None) == _PASSWORD or "password" in str(error).lower():
        return DocumentRefused("encrypted", "the document needs a password; save it without one")
    return DocumentRefused("corrupt", "the file is no PDF, or it is damaged or cut off")


def _without_text(pages: int, damaged: int) -> DocumentRefused:
    counted = f"{pages:,} page{'' if pages == 1 else 's'}"
    if damaged:
        return DocumentRefused("corrupt", f"no page can be read, of {counted}")
    return DocumentRefused("no_text", f"no text: a scan of {counted}; text in images is not read")


def _page(document: Any, number: int) -> list[_Line] | None:
    """The lines of a page; None where it cannot be read."""
    import pypdfium2 as pdfium

    try:
        page = document[number]
        text = page.get_textpage()
    except pdfium.PdfiumError:
        return None
    try:
        return list(_lines(text))
    finally:
        text.close()
        page.close()


def _lines(page: Any) -> Iterator[_Line]:
    at = 0  # PDFium counts UTF-16 units
    whole = page.get_text_range()
    for raw in _LINE_END.split(whole):
        text = _led(clean(_HYPHEN.sub("", raw)).strip())
        if text:
            size, y = _place(page, at + len(raw) - len(raw.lstrip()))
            yield _Line(text, size, y)
        at += len(raw.encode("utf-16-le", "surrogatepass")) // 2 + 2


def _led(text: str) -> str:
    """An entry of a table of contents without most of the dots before its page."""
    return " ".join(_LEADER.sub(_LEADS, text).split()) if "....." in text.replace(" ", "") else text


def _place(page: Any, at: int) -> tuple[float, float]:
    """Size of the letters of a character, and its distance from the foot of the page, in points."""
    import pypdfium2.raw as pdfium

    x, y, matrix = ctypes.c_double(), ctypes.c_double(), pdfium.FS_MATRIX()
    pdfium.FPDFText_GetCharOrigin(page, at, x, y)
    size = float(pdfium.FPDFText_GetFontSize(page, at))
    if pdfium.FPDFText_GetMatrix(page, at, matrix):
        size *= (matrix.c**2 + matrix.d**2) ** 0.5
    return round(size, 1), y.value


def _outline(document: Any) -> Mapping[int, list[tuple[str, int]]]:
    """Titles and levels of the outline, by page, counting from 0."""
    found: dict[int, list[tuple[str, int]]] = {}
    for entry in document.get_toc(max_depth=6):
        title, target = _text(entry.get_title), entry.get_dest()
        page = target.get_index() if target else None
        if title and page is not None:
            found.setdefault(page, []).append((" ".join(title.split()), min(entry.level + 1, 6)))
    return found


def _blocks(
    pages: Sequence[Sequence[_Line]], outline: Mapping[int, list[tuple[str, int]]]
) -> Iterator[Block]:
    levels = {} if outline else _levels(pages)
    for number, lines in enumerate(pages):
        is_marked = False
        for block in _of_page(lines, list(outline.get(number, ())), levels):
            if block.kind == "heading":
                is_marked = False
            elif not is_marked:
                yield Block("heading", f"page {number + 1}", PAGE_LEVEL)
                is_marked = True
            yield block


def _levels(pages: Iterable[Sequence[_Line]]) -> Mapping[float, int]:
    """The level of a heading by the size of its letters."""
    weights: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            weights[line.size] += len(line.text)
    body = weights.most_common(1)[0][0] if weights else 0.0
    large = sorted((size for size in weights if size > body * _LARGER), reverse=True)
    return {size: min(n, _SHALLOWEST) for n, size in enumerate(large, 1)}


def _of_page(
    lines: Sequence[_Line], titles: list[tuple[str, int]], levels: Mapping[float, int]
) -> Iterator[Block]:
    """Headings and paragraphs of a page. A title of the outline that no line has comes first."""
    runs = _runs(lines, titles, levels)
    for title, level in titles:  # what the lines have is taken out by now
        yield from titled(title, level)
    for text, level in runs:
        if level:
            yield from titled(text, level)
        else:
            yield Block("paragraph", text)


def _runs(
    lines: Sequence[_Line], titles: list[tuple[str, int]], levels: Mapping[float, int]
) -> list[tuple[str, int]]:
    """Texts with the level of their heading, 0 for paragraphs; takes titles that it finds."""
    runs: list[tuple[str, int]] = []
    usual = _usual_distance(lines)
    body: list[_Line] = []
    at = 0
    while at < len(lines):
        taken, heading = _heading(lines, at, titles, levels)
        if heading is None:
            if body and _ends_paragraph(body[-1], lines[at], usual):
                runs.append((_joined(body), 0))
                body = []
            body.append(lines[at])
        else:
            if body:
                runs.append((_joined(body), 0))
                body = []
            runs.append(heading)
        at += taken
    if body:
        runs.append((_joined(body), 0))
    return runs


def _heading(
    lines: Sequence[_Line],
    at: int,
    titles: list[tuple[str, int]],
    levels: Mapping[float, int],
) -> tuple[int, tuple[str, int] | None]:
    """How many lines a heading takes from here, and the heading; one line where there is none."""
    text = ""
    for taken, line in enumerate(lines[at : at + 4], 1):
        text = f"{text} {line.text}".strip()
        for n, (title, level) in enumerate(titles):
            if _folded(title) in (_folded(text), _folded(_NUMBERED.sub("", text, count=1))):
                del titles[n]
                return taken, (text, level)
    level = levels.get(lines[at].size, 0)
    if not level:
        return 1, None
    same = 1
    while at + same < len(lines) and lines[at + same].size == lines[at].size:
        same += 1
    text = " ".join(line.text for line in lines[at : at + same])
    if len(text) > _LONGEST_HEADING or not any(map(str.isalnum, text)):
        return 1, None
    return same, (text, level)


def _folded(text: str) -> str:
    return "".join(text.split()).casefold()


def _usual_distance(lines: Sequence[_Line]) -> float:
    pairs = [(a, b) for a, b in pairwise(lines) if a.y > b.y and a.size == b.size]
    gaps = [above.y - below.y for above, below in pairs]
    close = [
        above.y - below.y for above, below in pairs if above.y - below.y <= _CLOSE * above.size
    ]
    return median(close or gaps or [0.0])


def _ends_paragraph(above: _Line, line: _Line, usual: float) -> bool:
    """A larger distance than usual, another column, or letters of another size."""
    gap = above.y - line.y
    return gap < -above.size or (usual > 0 and gap > usual * _APART) or above.size != line.size


def _joined(lines: Sequence[_Line]) -> str:
    """One paragraph; the items of a list and of a table of contents keep their lines."""
    text = last = lines[0].text
    for line in lines[1:]:
        is_apart = _BULLET.match(line.text) or _LEADS in last
        text += ("\n" if is_apart else " ") + line.text
        last = line.text
    return text


def _property(document: Any, name: str) -> str:
    return _text(lambda: document.get_metadata_value(name))


def _text(get: Callable[[], str]) -> str:
    """A text outside of the pages; none where it is no Unicode."""
    try:
        return clean(get() or "").strip()
    except UnicodeDecodeError:
        return ""


def _described(properties: Mapping[str, str]) -> "Metadata":
    found: Metadata = {}
    for name, value in properties.items():
        if name in _PROPERTIES and value.strip():
            found[_PROPERTIES[name]] = one_line(value, 500)
    for name in ("CreationDate", "ModDate"):  # the later one wins
        moment = date_of(properties.get(name, ""))
        if moment:
            found["date"] = moment
    return found


def date_of(text: str) -> str | None:
    """A date of PDF (`D:20260131120000+01'00'`) as ISO 8601, as exact as it is; None if none."""
    match = _DATE.fullmatch(text.strip().rstrip("'"))
    if not match:
        return None
    year, month, day, hour, minute, second, utc, hours, minutes = match.groups()
    date = "-".join(part for part in (year, month, day) if part)
    if hour is None:
        return date
    zone = "Z" if utc else f"{hours}:{minutes or '00'}" if hours else ""
    return f"{date}T{hour}:{minute}:{second or '00'}{zone}"
