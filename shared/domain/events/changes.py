"""DOCS: the newest change of every document."""

import base64
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Field,
    computed_field,
    model_validator,
)

from shared.domain.events.base import Batch, Document, Event, Listed, Metadata, Model
from shared.domain.events.intake import Reference, SubmittedChunk


class Inline(Model):
    """Content inside the event, at most 256 KB."""

    kind: Literal["inline"] = "inline"
    encoding: Literal["utf-8", "base64"] = "utf-8"
    data: str

    @classmethod
    def of(cls, data: bytes) -> "Inline":
        try:
            return cls(data=data.decode("utf-8"))
        except UnicodeDecodeError:
            return cls(encoding="base64", data=base64.b64encode(data).decode())

    def bytes(self) -> bytes:
        return base64.b64decode(self.data) if self.encoding == "base64" else self.data.encode()


class Stored(Model):
    """Content in the object store `bodies`, under its hash."""

    kind: Literal["stored"] = "stored"
    hash: str


class Linked(Model):
    """Content behind a reference."""

    kind: Literal["linked"] = "linked"
    ref: Reference


class Ready(Model):
    """Chunks that the publisher has cut already."""

    kind: Literal["chunks"] = "chunks"
    chunks: Listed[SubmittedChunk]


WATCH: Final = "watch"
SUBMISSION: Final = "submission"


def origin_of(value: object) -> object:
    """The origin that an older version wrote as `of_folder`; any other value as it is."""
    return (WATCH if value else None) if isinstance(value, bool) else value


Origin = Annotated[
    str | None,
    Field(validation_alias=AliasChoices("origin", "of_folder")),
    BeforeValidator(origin_of),
]
Content = Annotated[Inline | Stored | Linked | Ready, Field(discriminator="kind")]


def _with_of_folder(schema: dict[str, Any]) -> None:
    text = "As versions before `origin` have it: whether that is `watch`."
    schema["properties"]["of_folder"] = {"default": False, "type": "boolean", "description": text}


class DocumentChanged(Event):
    """The newest state of a document at its source; the stream keeps one per document."""

    model_config = ConfigDict(json_schema_extra=_with_of_folder)

    stream: ClassVar[str] = "DOCS"

    document: Document
    batch: Batch
    op: Literal["upserted", "deleted"]
    content: Content | None = None
    content_hash: str | None = None
    """sha256 of the content; an equal hash means unchanged content."""
    size: int = Field(default=0, ge=0)
    media_type: str | None = None
    title: str | None = None
    metadata: Metadata = Field(default={})
    static_score: float | None = None
    is_active: bool = True
    source_version: int | None = None
    intake: int = Field(default=0, ge=0)
    """INTAKE sequence of the submission that this, or the change before it, came from."""
    origin: Origin = None
    """`watch`: the watch of a source has made it, and `intake` is only carried along. `submission`:
    that of a publisher. None: an older version has made it, or a repair."""
    repair: str | None = None
    """Generation whose rows of this document are all written anew."""
    repairs: Listed[str] = Field(default=())
    """Other generations of which the same was asked before, and may not be done yet."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def of_folder(self) -> bool:
        """As versions before `origin` read it, which may run beside this one."""
        return self.origin == WATCH

    @property
    def repaired(self) -> frozenset[str]:
        """All generations whose rows of this document are written anew."""
        return frozenset(self.repairs) | ({self.repair} if self.repair else set())

    @property
    def subject(self) -> str:
        return f"documents.changed.{self.document.source}.{self.document.doc_key}"

    @model_validator(mode="after")
    def _content_matches_op(self) -> Self:
        if (self.content is None) == (self.op == "upserted"):
            raise ValueError("content is required for 'upserted' and forbidden for 'deleted'")
        return self
