"""EML to a title, metadata and blocks: the text of a message, and messages attached to it."""

import binascii
import email
import quopri
import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC
from email.message import Message
from email.policy import Compat32
from email.utils import collapse_rfc2231_value, parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from shared.domain.errors import DocumentRefused
from shared.formats import html
from shared.formats.blocks import SECTION, Block, Content, clean, one_line, titled
from shared.formats.charset import declared_in, decode
from shared.formats.containers import MAX_BYTES

if TYPE_CHECKING:  # pydantic and numpy would double the process that only reads
    from shared.domain.events import Metadata

MAX_DEPTH: Final = 100
"""Parts inside each other. The parser recurses."""
MAX_PARTS: Final = 10_000
MAX_ATTACHMENTS: Final = 100
MAX_NAME_CHARS: Final = 100
MAX_PARAMETERS: Final = 2_000
"""Characters of a header with parameters, whose parser takes quadratic time or more: 50 s for
100,000 characters of quotes."""

_WITH_PARAMETERS: Final = ("content-type", "content-disposition")
_SHOWN: Final = ("From", "To", "Cc", "Bcc")
"""Headers that a mail program shows above the text."""
_SAYS_NOTHING: Final = 2
"""Plain text with less than one of so many words of the HTML beside it only refers to the HTML."""
_MULTIPART: Final = re.compile(rb"^content-type:\s*(?:multipart|message)/", re.MULTILINE | re.I)
_ENCODED: Final = re.compile(r"=\?([^?\s]{1,60})\?([bqBQ])\?([^?\s]*)\?=")
_PARAGRAPHS: Final = re.compile(r"\n\n+")
_WORD: Final = re.compile(r"\w+")
_BLANKS: Final = re.compile(r"\s+")
_NO_NAME: Final = re.compile(r"[\x00-\x1f\x7f<>:\"|?*#]")
_ORIGIN: Final = "mail"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that is attached to a message, or to a message attached to it."""

    name: str
    """Without folders; no two attachments of a message share one."""
    data: bytes
    media_type: str


class _Policy(Compat32):
    """That of the standard library, with headers that its parser of parameters bears."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, _bounded(value) if name.lower() in _WITH_PARAMETERS else value


def _bounded(value: str) -> str:
    """A header with parameters; without them where the standard library fails over them, as over
    the parts of one with and without a number."""
    probe, value = Message(), value[:MAX_PARAMETERS]
    probe["Content-Type"] = value
    try:
        probe.get_params()
    except (TypeError, ValueError):
        return value.partition(";")[0]
    return value


def read(data: bytes) -> Content:
    """Read a message. Raises DocumentRefused `corrupt`, `wrong_encoding`."""
    message = _parsed(data)
    writer = _Writer()
    writer.message(message)
    subject = " ".join(_header(message, "Subject").split())
    title = one_line(subject)
    if title != subject:
        writer.blocks.insert(0, Block("paragraph", clean(subject)))
    metadata: Metadata = {}
    for name, value in (("author", _header(message, "From")), ("date", _date(message))):
        if value.strip():
            metadata[name] = one_line(value, 500)
    origins = dict.fromkeys((*metadata, "title") if title else metadata, _ORIGIN)
    return Content(title, metadata, writer.blocks, origins)


def attachments(data: bytes) -> Iterator[Attachment]:
    """The files attached to a message, those of attached messages too, in their order.

    Those beyond MAX_ATTACHMENTS or MAX_BYTES are left out.

    Raises:
        DocumentRefused: `corrupt`.
    """
    taken: set[str] = set()
    left = MAX_BYTES
    for number, part in enumerate(_attached(_parsed(data)), 1):
        content = _bytes_of(part)
        left -= len(content)
        if number > MAX_ATTACHMENTS or left < 0:
            return
        name = _unique(_file_name(part) or f"attachment {number}", taken)
        yield Attachment(name, content, part.get_content_type())


def _parsed(data: bytes) -> Message:
    if len(_MULTIPART.findall(data)) > MAX_PARTS:
        raise _too_deep()
    try:
        message = email.message_from_bytes(data, policy=_Policy())
    except RecursionError:
        raise _too_deep() from None
    if any(depth > MAX_DEPTH for depth, _ in _walk(message)):
        raise _too_deep()
    return message


def _too_deep() -> DocumentRefused:
    return DocumentRefused("corrupt", f"parts are nested deeper than {MAX_DEPTH:,}")


def _walk(message: Message) -> Iterator[tuple[int, Message]]:
    waiting = [(0, message)]
    while waiting:
        depth, part = waiting.pop()
        yield depth, part
        waiting += [(depth + 1, inner) for inner in reversed(_inner(part))]


def _inner(part: Message) -> list[Message]:
    payload: Any = part.get_payload()
    return payload if isinstance(payload, list) else []


def _attached(message: Message) -> Iterator[Message]:
    return (part for _, part in _walk(message) if not _inner(part) and _is_attached(part))


def _is_attached(part: Message) -> bool:
    """Whether a mail program shows the part as a file."""
    if part.get_content_disposition() == "attachment" or _file_name(part):
        return True
    return part.get_content_maintype() not in ("text", "multipart", "message")  # or broken ones


# -- headers ---------------------------------------------------------------------------------------


def _header(message: Message, name: str) -> str:
    """All values of a header, as a person reads them, one a line."""
    raw = [value for key, value in message.raw_items() if key.lower() == name.lower()]
    return "\n".join(_header_text(str(value)) for value in raw).strip()


def _header_text(raw: str) -> str:
    """The text of a header, which may be in raw bytes or in encoded words (RFC 2047)."""
    if not raw.isascii():
        raw = _decoded(raw.encode("utf-8", "surrogateescape"), None)
    pieces: list[str] = []
    waiting, charset, at = b"", "", 0
    for word in _ENCODED.finditer(raw):
        between = raw[at : word.start()]
        at = word.end()
        if waiting and (between.strip() or word[1].lower() != charset):
            pieces.append(_decoded(waiting, charset))
            waiting = b""
        if between.strip() or (not charset and between):
            pieces.append(between)
        charset = word[1].lower()
        waiting += _unpacked(word[2], word[3])
    if waiting:
        pieces.append(_decoded(waiting, charset))
    return _BLANKS.sub(" ", "".join((*pieces, raw[at:])))


def _unpacked(how: str, text: str) -> bytes:
    if how in "qQ":
        return quopri.decodestring(text.encode("ascii", "replace"), header=True)
    try:
        return b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return text.encode("ascii", "replace")


def _date(message: Message) -> str:
    """The date as ISO 8601, or as it is written."""
    written = _header(message, "Date")
    try:
        date = parsedate_to_datetime(written[:100])
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return written


# -- text ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Writer:
    """Collects the blocks of a message and of those inside it."""

    blocks: list[Block] = field(default_factory=list)
    level: int = SECTION
    inside: list[Message] = field(default_factory=list)
    """Attached messages, which follow the text and the names of the files."""

    def message(self, message: Message) -> None:
        shown = [(name, _header(message, name)) for name in _SHOWN]
        self._lines([f"{name}: {value}" for name, value in shown if value])
        self._part(message)
        names = [f"{_label(part)} ({part.get_content_type()})" for part in _files(message)]
        self._lines([f"Attachment: {name}" for name in names])
        inside, self.inside = self.inside, []
        for one in inside:
            self._message_inside(one)

    def _part(self, part: Message) -> None:
        kind = part.get_content_type()
        inner = _inner(part)
        if kind == "message/rfc822" and inner:
            self.inside.append(inner[0])
        elif kind == "multipart/alternative" and inner:
            self._alternatives(inner)
        elif kind.startswith("message/") and inner:
            for one in inner:
                self._lines([f"{name}: {_header_text(str(v))}" for name, v in one.raw_items()])
        elif inner:
            for one in inner:
                self._part(one)
        elif not _is_attached(part) or not part.keys():
            self.blocks += _text_blocks(part)

    def _message_inside(self, message: Message) -> None:
        self.blocks += titled(_header(message, "Subject") or "Message", min(self.level, 6))
        self.level += 1
        date = _date(message)
        self._lines([f"Date: {date}"] if date else [])
        self.message(message)
        self.level -= 1

    def _alternatives(self, parts: list[Message]) -> None:
        """The first form, or the last one where the first says next to nothing."""
        found = []
        for part in parts:
            writer = _Writer(level=self.level)
            writer._part(part)
            found.append(writer.blocks)
            self.inside += writer.inside
        amounts = [sum(len(_WORD.findall(block.text)) for block in blocks) for blocks in found]
        first = next((n for n, amount in enumerate(amounts) if amount), 0)
        most = max(range(len(parts)), key=amounts.__getitem__)
        self.blocks += found[most if amounts[first] * _SAYS_NOTHING < amounts[most] else first]

    def _lines(self, lines: list[str]) -> None:
        text = clean("\n".join(lines))
        if text:
            self.blocks.append(Block("paragraph", text))


def _files(message: Message) -> Iterator[Message]:
    """The attached files of this message, without those of the messages in it."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        if part.get_content_type() == "message/rfc822" and part is not message:
            continue
        inner = _inner(part)
        waiting += reversed(inner)
        if not inner and part.keys() and _is_attached(part):
            yield part


def _text_blocks(part: Message) -> list[Block]:
    data = _bytes_of(part)
    is_html = part.get_content_subtype() == "html"
    declared = part.get_content_charset() or declared_in(data, is_html=is_html)
    text = _decoded(data, declared)
    if is_html:
        page = html.read(text)
        title = [Block("paragraph", page.title)] if page.title and not page.blocks else []
        return title + page.blocks
    if _parameter(part, "format").lower() == "flowed":
        text = _flowed(text, drops_blank=_parameter(part, "delsp").lower() == "yes")
    parts = (one.strip("\n") for one in _PARAGRAPHS.split(clean(text)))
    return [Block("paragraph", one) for one in parts if one.strip()]


def _flowed(text: str, *, drops_blank: bool) -> str:
    """Lines that a mail program has parted, joined again (RFC 3676)."""
    lines: list[str] = []
    open_depth = -1
    for raw in text.replace("\r\n", "\n").split("\n"):
        line = raw.lstrip(">")
        depth = len(raw) - len(line)
        line = line.removeprefix(" ")
        flows = line.endswith(" ") and line != "-- "
        part = line[:-1] if flows and drops_blank else line
        if open_depth == depth and line != "-- ":
            lines.append(part)
        else:
            mark = ">" * depth + " " if depth else ""
            lines.append(("\n" if lines else "") + mark + part)
        open_depth = depth if flows else -1
    return "".join(lines)


# -- parts -----------------------------------------------------------------------------------------


def _bytes_of(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _decoded(data: bytes, declared: str | None) -> str:
    """The text; with broken characters where neither the name nor the words tell its encoding."""
    try:
        return decode(data, declared=declared).text
    except DocumentRefused:
        return data.replace(b"\0", b"").decode("utf-8", "replace")


def _parameter(part: Message, name: str) -> str:
    value = part.get_param(name, "")
    return collapse_rfc2231_value(value) if isinstance(value, tuple) else str(value)


def _file_name(part: Message) -> str:
    """The name without folders and characters that mean something to systems; or nothing."""
    given = part.get_param("filename", None, "content-disposition") or part.get_param("name", None)
    if given is None:
        return ""
    try:
        whole = collapse_rfc2231_value(given) if isinstance(given, tuple) else str(given)
    except (LookupError, ValueError):
        whole = given[2] if isinstance(given, tuple) else ""
    plain = clean(_NO_NAME.sub(" ", _header_text(whole)))
    name = " ".join(plain.replace("\\", "/").rpartition("/")[2].split()).strip(". ")
    stem, dot, ending = name.rpartition(".")
    if len(name) <= MAX_NAME_CHARS or not dot or len(ending) > MAX_NAME_CHARS // 2:
        return name[:MAX_NAME_CHARS]
    return f"{stem[: MAX_NAME_CHARS - len(ending) - 1]}.{ending}"


def _label(part: Message) -> str:
    return _file_name(part) or "without a name"


def _unique(name: str, taken: set[str]) -> str:
    stem, dot, ending = name.rpartition(".")
    number, found = 1, name
    while found.casefold() in taken:
        number += 1
        found = f"{stem} ({number}).{ending}" if dot else f"{name} ({number})"
    taken.add(found.casefold())
    return found
