"""What every event has."""

import uuid
from itertools import takewhile
from typing import Annotated, ClassVar, Final, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from shared.errors import MalformedEvent, NewerSchema
from shared.identity import SOURCE_PATTERN

SCHEMA: Final = 1
"""Of every event that this version writes and reads."""

Source = Annotated[str, StringConstraints(pattern=SOURCE_PATTERN)]
DocKey = Annotated[str, StringConstraints(pattern=r"^[a-z2-7]{26}$")]
Scalar = str | int | float | bool | None
Metadata = dict[str, Scalar]


class Model(BaseModel):
    """Frozen, lenient when reading, aliases when writing."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, serialize_by_alias=True
    )


class Document(Model):
    """Which document, at which revision. Every event about it carries this."""

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
    """What all events have in common."""

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
        """Names what is to be done, the same in every copy of the event; None: copies are rare."""
        return None


def malformed(error: ValidationError) -> MalformedEvent:
    """What is wrong with bytes that are no event: fields and rules, never a value of them."""
    faults = error.errors(include_url=False, include_context=False)
    for fault in faults:
        if fault["loc"] == ("schema",) and _is_newer(fault["input"]):
            return NewerSchema(f"written by a newer version of instep: schema {fault['input']}")
    shown = [_described(fault["loc"], fault["type"]) for fault in faults[:3]]
    return MalformedEvent(", ".join(shown))


def _is_newer(schema: object) -> bool:
    """Whether a `schema` is one of a newer version."""
    return isinstance(schema, int) and schema > SCHEMA


def _described(where: tuple[int | str, ...], rule: str) -> str:
    """`field: rule`; no key of the document's own metadata."""
    names = [str(part) for part in where]
    known = list(takewhile(lambda name: name != "metadata", names))
    field = ".".join([*known, "metadata"] if len(known) < len(names) else known)
    return f"{field or 'event'}: {rule}"
