"""The protocol between the enricher and the process that reads for it. Pure.

Frames (`shared.sandbox.frames`) of JSON, never pickle: what a hostile document made of the other
process must not be able to run code in this one.

    question   {"path", "media_type", "title", "max_chars"}, then a frame with the bytes
    answer     {"blocks": [[kind, text, level], …]} as often as needed, then one of
               {"title", "metadata", "origins"}, {"refused": [code, reason]}, {"broke": what},
               "memory"; a kind of "" goes on with the text of the block before
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, get_args

from shared.domain.errors import DocumentRefused
from shared.formats.blocks import MAX_BLOCKS, Block, Extracted, Kind, with_paths
from shared.sandbox import frames
from shared.sandbox.frames import Garbled

if TYPE_CHECKING:  # pydantic and numpy would double the process that only reads
    from shared.domain.events import Metadata

MAX_FRAME_BYTES: Final = 4 * 1024**2
"""Of an answer: the parent neither awaits nor parses a larger one. It has room for `_FRAME_CHARS`
twice, at six bytes each."""
READY: Final = b'"ready"'
MEMORY: Final = b'"memory"'
_FRAME_CHARS: Final = 256 * 1024
"""About how much text a frame of blocks has, so that no single one is long to parse."""
_MORE: Final = ""
"""Kind of a part of a block that is not its first one."""
_KINDS: Final = frozenset(get_args(Kind))
_MOST_METADATA: Final = 128 * 1024
"""Bytes of title and metadata: all front matter that is read, at four bytes a character."""
_MAX_REASON_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Question:
    """A document to be read, without its bytes."""

    path: str
    media_type: str | None
    title: str | None
    max_chars: int
    """Of extracted text; more is refused."""

    def answer(self) -> "Answer":
        return Answer(self)

    def to_bytes(self) -> bytes:
        # a path may hold other bytes than UTF-8, as lone surrogates: JSON's escapes keep them
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Question":
        return cls(**json.loads(data))


def told(extracted: Extracted) -> Iterator[bytes]:
    """The frames of an answer."""
    some: list[tuple[str, str, int]] = []
    size = 0
    for part in _in_parts(extracted.blocks):
        some.append(part)
        size += len(part[1]) + 16
        if size > _FRAME_CHARS:
            yield json_of({"blocks": some})
            some, size = [], 0
    yield json_of({"blocks": some})
    end = {name: getattr(extracted, name) for name in ("title", "metadata", "origins")}
    yield json_of(end)


def _in_parts(blocks: Iterable[Block]) -> Iterator[tuple[str, str, int]]:
    for block in blocks:
        yield block.kind, block.text[:_FRAME_CHARS], block.level
        for at in range(_FRAME_CHARS, len(block.text), _FRAME_CHARS):
            yield _MORE, block.text[at : at + _FRAME_CHARS], 0


def refused(refusal: DocumentRefused) -> bytes:
    return json_of({"refused": [refusal.code, refusal.reason]})


def broke(error: BaseException) -> bytes:
    """A fault of the extraction's code."""
    return json_of({"broke": frames.broke(error)})


def json_of(what: Any) -> bytes:
    return json.dumps(what, ensure_ascii=False).encode("utf-8", "replace")


@dataclass(slots=True, kw_only=True)
class Ending(ABC):
    """The answer to any question, and how it ended."""

    broke: str | None = None
    memory: bool = False
    """It had not enough of it."""
    refusal: DocumentRefused | None = None

    def add(self, frame: bytes) -> bool:
        """Whether that was the end of the answer. Raises Garbled."""
        try:
            return self.take(frame)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            raise Garbled("an answer of another form") from None

    @abstractmethod
    def take(self, frame: bytes) -> bool:
        """As `add`; any error of a value of another form may be raised."""

    def ended(self, said: Any) -> None:
        """Take what ends an answer without a result."""
        if "refused" in said:
            code, reason = said["refused"]
            self.refusal = DocumentRefused(str(code)[:40], str(reason)[:_MAX_REASON_CHARS])
        else:
            self.broke = str(said["broke"])[:_MAX_REASON_CHARS]


@dataclass(slots=True)
class Answer(Ending):
    """The answer so far, checked: a document may have taken over the process."""

    question: Question
    title: str = ""
    metadata: "Metadata" = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    _blocks: list[tuple[Kind, int, list[str]]] = field(default_factory=list)
    """Kind, level and the parts of the text."""
    _chars: int = 0

    def take(self, frame: bytes) -> bool:
        if frame == MEMORY:
            self.memory = True
            return True
        said = json.loads(frame)
        if "blocks" in said:
            self._add_blocks(said["blocks"])
            return False
        self._end(said, len(frame))
        return True

    def extracted(self) -> Extracted:
        """Raises DocumentRefused when the document was."""
        if self.refusal is not None:
            raise self.refusal
        blocks = [Block(kind, "".join(parts), level) for kind, level, parts in self._blocks]
        return Extracted(self.title, with_paths(blocks), self.metadata, self.origins)

    def _add_blocks(self, blocks: Any) -> None:
        for kind, text, level in blocks:
            if not isinstance(text, str) or level not in range(8):
                raise ValueError
            if kind == _MORE and text:
                self._blocks[-1][2].append(text)
            elif kind in _KINDS:
                self._blocks.append((kind, level, [text]))
            else:
                raise ValueError
            self._chars += len(text)
        if self._chars > self.question.max_chars or len(self._blocks) > MAX_BLOCKS:
            raise ValueError

    def _end(self, said: Any, size: int) -> None:
        if "refused" in said or "broke" in said:
            self.ended(said)
        else:
            self.title, self.metadata = said["title"], said["metadata"]
            self.origins = said["origins"]
            if size > _MOST_METADATA or not self._is_right():
                raise ValueError

    def _is_right(self) -> bool:
        scalars = all(v is None or isinstance(v, (str, int, float)) for v in self.metadata.values())
        told = all(isinstance(origin, str) for origin in self.origins.values())
        return isinstance(self.title, str) and scalars and told
