"""The base of every event."""

import uuid
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic_core import to_json

from shared.domain.errors import MalformedEvent, NewerSchema
from shared.domain.faults import of_event
from shared.domain.ids import DOC_KEY_PATTERN, SOURCE_PATTERN

SCHEMA: Final = 1
"""The schema of every event that this version writes and reads."""

Source = Annotated[str, StringConstraints(pattern=SOURCE_PATTERN)]
DocKey = Annotated[str, StringConstraints(pattern=DOC_KEY_PATTERN)]
Scalar = str | int | float | bool | None
T = TypeVar("T")


class _FirstFault(FailFast):
    """Validates up to the first fault: 1 MB may have 400,000, and listing them takes 4 s."""

    __hash__ = object.__hash__  # a part of `Listed[T] | None` has to have one


Listed = Annotated[tuple[T, ...], _FirstFault()]
Metadata = Annotated[dict[str, Scalar], _FirstFault()]


def json_bytes(what: Any) -> int:
    """Bytes that a model, or a value of one, takes in a message: UTF-8, with JSON's escapes."""
    return len(to_json(what))


class Model(BaseModel):
    """Frozen, lenient when reading, aliases when writing."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, serialize_by_alias=True
    )


class Document(Model):
    """A document and its revision, carried by every event about it."""

    source: Source
    path: str
    doc_key: DocKey
    revision: int = Field(default=0, ge=0, lt=2**53)
    """Sequence of its `documents.changed` message, the one order of changes; 0: not stored yet."""
    changed_at: AwareDatetime
    """When the change was seen at its source; freshness counts from here."""


class Batch(Model):
    """Metadata of the batch of changes that a document came with (B5)."""

    id: str
    count: int = Field(ge=0)
    """Documents in the batch."""
    source: Source
    format: str = "mixed"
    started_at: AwareDatetime


class Event(Model):
    """The fields of every event."""

    stream: ClassVar[str]

    schema_: Literal[1] = Field(default=1, alias="schema")

    @property
    def subject(self) -> str:
        """The subject that the event is published on."""
        raise NotImplementedError  # each event says

    @property
    def message_id(self) -> str:
        """`Nats-Msg-Id`. A fresh one names the publish call: the same fact may be sent again."""
        return uuid.uuid4().hex

    @property
    def work(self) -> str | None:
        """The name of its work, the same in every copy of the event; None: copies are rare."""
        return None


def malformed(error: ValidationError) -> MalformedEvent:
    """The faults of a malformed event: fields and rules, never a value."""
    for fault in error.errors(include_url=False, include_context=False):
        if fault["loc"] == ("schema",) and _is_newer(fault["input"]):
            return NewerSchema(f"written by a newer version of instep: schema {fault['input']}")
    return MalformedEvent(of_event(error.errors(include_input=False, include_url=False)))


def _is_newer(schema: object) -> bool:
    """Whether a `schema` is one of a newer version."""
    return isinstance(schema, int) and schema > SCHEMA
