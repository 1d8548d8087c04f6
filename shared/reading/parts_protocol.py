"""The protocol of a question for the documents of a file. Pure.

Frames (`shared.sandbox.frames`) as in `shared.reading.protocol`:

    question   {"split": path, "fields": {…} or null}, then a frame with the bytes
    answer     {"part": [name, media type, title, metadata, score, active, bytes]}, then the bytes
               in frames, as often as needed; then one of {"fault", "left_out"}, {"refused": […]},
               {"broke": what}, "memory"
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from shared.formats.containers import MAX_BYTES, MAX_PARTS, Fields, FilePart, Parts
from shared.reading import protocol

FRAME_BYTES: Final = 1024**2
MAX_FAULT_CHARS: Final = 500


@dataclass(frozen=True, slots=True)
class SplitQuestion:
    """A file to be split, without its bytes."""

    path: str
    fields: Fields | None

    def to_bytes(self) -> bytes:
        fields = None if self.fields is None else asdict(self.fields)
        return json.dumps({"split": self.path, "fields": fields}).encode()

    @classmethod
    def from_bytes(cls, asked: bytes) -> "SplitQuestion":
        said = json.loads(asked)
        fields = said["fields"]
        return cls(said["split"], None if fields is None else Fields(**fields))

    def answer(self) -> "SplitAnswer":
        return SplitAnswer()


def told(found: Parts) -> Iterator[bytes]:
    """The frames of an answer."""
    for part in found.parts:
        told = (part.name, part.media_type, part.title, dict(part.metadata))
        numbers = (part.static_score, part.is_active, len(part.data))
        yield protocol.json_of({"part": [*told, *numbers]})
        for at in range(0, len(part.data), FRAME_BYTES):
            yield part.data[at : at + FRAME_BYTES]
    end = {"fault": (found.fault or "")[:MAX_FAULT_CHARS], "left_out": found.left_out[:MAX_PARTS]}
    yield protocol.json_of(end)


@dataclass(slots=True)
class SplitAnswer(protocol.Ending):
    """The answer so far, checked: a file may have taken over the process."""

    _parts: dict[str, FilePart] = field(default_factory=dict)
    _fault: str = ""
    _left_out: list[str] = field(default_factory=list)
    _head: list[Any] = field(default_factory=list)
    """Of the part whose bytes come now."""
    _data: bytearray = field(default_factory=bytearray)
    _bytes: int = 0

    def take(self, frame: bytes) -> bool:
        """Whether that was the end of the answer."""
        if self._head:  # any bytes, also those that mean something else between parts
            self._data += frame
        elif frame == protocol.MEMORY:
            self.memory = True
            return True
        else:
            said = json.loads(frame)
            if "part" not in said:
                return self._end(said)
            self._begin(said["part"])
        self._close()
        return False

    def parts(self) -> Parts:
        """Raises DocumentRefused when the file was."""
        if self.refusal is not None:
            raise self.refusal
        faults = [self._fault] if self._fault else []
        return Parts(list(self._parts.values()), faults, self._left_out)

    def _begin(self, head: list[Any]) -> None:
        name, media_type, title, metadata, score, active, size = head
        texts = (name, media_type or "", title or "", *metadata)
        numbers = score is None or isinstance(score, int | float)
        if not all(isinstance(text, str) for text in texts) or not numbers:
            raise ValueError
        if not isinstance(active, bool) or name in self._parts or "/" in name or not name:
            raise ValueError
        if not all(v is None or isinstance(v, str | int | float) for v in metadata.values()):
            raise ValueError
        self._bytes += size
        if size < 0 or self._bytes > MOST_BYTES or len(self._parts) >= MAX_PARTS:
            raise ValueError
        self._head, self._data = list(head), bytearray()

    def _close(self) -> None:
        """The part is whole when all its bytes are there."""
        *told, size = self._head
        if len(self._data) > size:
            raise ValueError
        if len(self._data) == size:
            name, media_type, title, metadata, score, active = told
            data = bytes(self._data)
            self._parts[name] = FilePart(name, data, media_type, title, metadata, score, active)
            self._head = []

    def _end(self, said: Any) -> bool:
        if "fault" in said:
            self._fault = str(said["fault"])[:MAX_FAULT_CHARS]
            self._left_out = [str(name) for name in said["left_out"]]
        else:
            self.ended(said)
        return True


MOST_BYTES: Final = 2 * MAX_BYTES
"""Of all parts: records that are written as JSON may be longer than their rows."""
