"""The contracts of the bus as files: JSON Schema 2020-12 per event, one AsyncAPI document.

Everything comes from `shared.domain.events` and `shared.domain.topology`; the same code gives the
same bytes. Only `write` and `differences` touch files. A schema says what a reader must accept, so
fields with defaults are optional: a message of an older writer, still in a stream, fits it too.
"""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared.domain.events import (
    EVENTS,
    RESULTS,
    BatchCompleted,
    Document,
    DocumentChanged,
    DocumentSubmitted,
    Event,
    Receipt,
)
from shared.domain.events.intake import CONTENTS
from shared.domain.ids import SOURCE_PATTERN
from shared.domain.topology import ACCEPT, DAY_S, GB, STREAMS, Stream

Json = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema(model: type[BaseModel], identity: str) -> Json:
    """JSON Schema of a model as readers must accept it; `identity` is its `$id`."""
    parts = definitions([model], "#/$defs/{model}")
    own = parts.pop(model.__name__)
    return {"$schema": DIALECT, "$id": identity, **own} | ({"$defs": parts} if parts else {})


def definitions(
    models: Sequence[type[BaseModel]],
    template: str,
    mode: Literal["validation", "serialization"] = "validation",
) -> dict[str, Json]:
    """Schemas of the models and of all that they hold, by class name.

    Args:
        template: the form of a reference, e.g. `#/$defs/{model}`.
        mode: what a reader accepts, or what a writer writes.
    """
    _, schema = models_json_schema([(m, mode) for m in models], ref_template=template)
    made: dict[str, Json] = schema["$defs"]
    for model in _with_parts(models):
        for field, text in field_descriptions(model).items():
            made[model.__name__]["properties"][field].setdefault("description", text)
    return {name: _plain(made[name] | _RULES.get(name, {})) for name in sorted(made)}


def _plain(schema: Any) -> Any:
    """Without redundant keys: field titles, OpenAPI's discriminator."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {n: _plain(s) for n, s in value.items()} if name == "properties" else _plain(value)
        for name, value in schema.items()
        if not (name == "title" and isinstance(value, str)) and name != "discriminator"
    }


def _given(field: str) -> Json:
    return {"required": [field], "properties": {field: {"not": {"type": "null"}}}}


_RULES: Final[Mapping[str, Json]] = {
    DocumentSubmitted.__name__: {
        "if": {"required": ["op"], "properties": {"op": {"const": "delete"}}},
        "then": {"not": {"anyOf": [_given(field) for field in CONTENTS]}},
        "else": {
            "oneOf": [_given(field) for field in CONTENTS],
            "if": {"required": ["op"], "properties": {"op": {"const": "piece"}}},
            "then": _given("data_base64"),
        },
    },
    DocumentChanged.__name__: {
        "if": {"properties": {"op": {"const": "deleted"}}},
        "then": {"not": _given("content")},
        "else": _given("content"),
    },
}
"""The rules of the models' validators beyond the types of single fields."""


def _with_parts(models: Sequence[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """The models and every model in their fields."""
    waiting, seen = list(models), set[type[BaseModel]]()
    while waiting:
        model = waiting.pop()
        if model in seen:
            continue
        seen.add(model)
        yield model
        for field in model.model_fields.values():
            waiting += _models_in(field.annotation)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    inner = getattr(annotation, "__args__", ())
    return [model for part in inner for model in _models_in(part)]


@cache
def field_descriptions(model: type[BaseModel]) -> Mapping[str, str]:
    """The docstrings below a model's fields, inherited ones included, by name as published."""
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if issubclass(owner, BaseModel) and owner is not BaseModel:
            found |= _own_descriptions(owner)
    names = {name: field.alias or name for name, field in model.model_fields.items()}
    return {names[name]: text for name, text in found.items() if name in names}


def _own_descriptions(model: type[BaseModel]) -> dict[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    assert isinstance(body, ast.ClassDef)  # the source of a class
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in zip(body.body, body.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


VERSION: Final = 1
"""Of every contract here; a change that is more than an addition is another number, beside it."""
ASYNCAPI_FILE: Final = "asyncapi.json"

OUTCOMES: Final[tuple[type[Event], ...]] = (*RESULTS.values(), BatchCompleted)
"""The subjects that other systems may subscribe to."""

PARAMETERS: Final[Mapping[str, Json]] = {
    "source": {
        "description": f"Name of the origin of the documents; matches `{SOURCE_PATTERN}`.",
        "examples": ["docs", "wiki"],
    },
    "doc_key": {
        "description": "First 26 characters of the lower-case base32 sha256 of"
        " `source`, a line feed, and `path` in NFC.",
    },
    "generation": {"description": "Build of the index; `*` reads all of them."},
}

_ABOUT: Final = """\
The messages between instep and other systems, as seen by such a system: it publishes those of
`send` and subscribes to those of `receive`. Channels without an operation are internal to instep;
they are listed so that a message met while debugging can be read, and may change with any release.

Fields are only ever added. Readers ignore fields that they do not know.
"""


def event_name(kind: type[Event]) -> str:
    """The subject without its parameters, e.g. `documents.indexed`."""
    return re.sub(r"\.\{.*", "", address(kind))


def address(kind: type[Event]) -> str:
    """The subject with its parameters named, e.g. `documents.indexed.{generation}.{source}`."""
    if kind is DocumentSubmitted:
        return ACCEPT.subjects[0].replace("*", "{source}")  # no field of the event has it
    names: Json = {"source": "{source}", "doc_key": "{doc_key}"}
    about = Document.model_construct(**names)
    fields: Json = {"document": about, "batch": about, "generation": "{generation}"}
    return kind.model_construct(**fields).subject


def schema_id(model: type[BaseModel]) -> str:
    """`$id` of a schema, and `ce-dataschema` of its messages: `urn:instep:document:indexed:1`."""
    name = _type_name(model) if issubclass(model, Event) else model.__name__.lower()
    return f"urn:instep:{name.replace('.', ':')}:{VERSION}"


def _type_name(kind: type[Event]) -> str:
    """The name of a type of event, e.g. `document.indexed`."""
    things, word = event_name(kind).split(".")
    return f"{_ONE[things]}.{word}"


_ONE: Final[Mapping[str, str]] = {
    "documents": "document",
    "embeddings": "embeddings",
    "batches": "batch",
}


def files() -> dict[str, str]:
    """Every contract of the bus: path below the folder of contracts to content."""
    made = {
        f"v{VERSION}/{event_name(kind)}.json": json_schema(kind, schema_id(kind)) for kind in EVENTS
    }
    made[f"v{VERSION}/receipt.json"] = json_schema(Receipt, schema_id(Receipt))
    made[ASYNCAPI_FILE] = asyncapi()
    return {
        name: json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        for name, content in sorted(made.items())
    }


def write(folder: Path, wanted: Mapping[str, str]) -> list[Path]:
    """Write the contracts to the folder; returns the files that changed, removed ones included."""
    changed = []
    for name, content in wanted.items():
        path = folder / name
        if _content(path) != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            changed.append(path)
    for name in _strays(folder, wanted):
        (folder / name).unlink()
        changed.append(folder / name)
    return changed


def differences(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Differences between folder and contracts, one line each; empty: they agree."""
    lines = []
    for name, content in wanted.items():
        have = _content(folder / name)
        if have != content:
            lines.append(f"{name} is missing" if have is None else f"{name} differs from the code")
    return lines + [f"{name} belongs to no event" for name in _strays(folder, wanted)]


def _content(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _strays(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """JSON files of the contract folders that no event has any more."""
    found = [path.relative_to(folder).as_posix() for path in folder.glob(f"v{VERSION}/*.json")]
    return sorted(set(found) - wanted.keys())


def asyncapi() -> Json:
    """The AsyncAPI 3.0 document, as a system that works with instep sees it."""
    models: list[type[BaseModel]] = [*EVENTS, Receipt]
    return {
        "asyncapi": "3.0.0",
        "id": "urn:instep",
        "info": {
            "title": "instep",
            "version": f"{VERSION}.0.0",
            "description": _ABOUT,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {_key(kind): _channel(kind) for kind in EVENTS} | {"receipt": _INBOX},
        "operations": {"submitDocument": _submit()}
        | {f"receive{kind.__name__}": _receive(kind) for kind in OUTCOMES},
        "components": {
            "messages": {m.__name__: _message(m) for m in models},
            "schemas": definitions(models, "#/components/schemas/{model}"),
        },
    }


def _key(kind: type[Event]) -> str:
    """Name of a channel, e.g. `documentsIndexed`."""
    first, *others = event_name(kind).split(".")
    return first + "".join(word.capitalize() for word in others)


def _channel(kind: type[Event]) -> Json:
    subject = address(kind)
    stream = next(s for s in STREAMS if s.name == kind.stream)
    names = re.findall(r"\{(\w+)\}", subject)
    return {
        "address": subject,
        "title": event_name(kind),
        "summary": inspect.getdoc(kind),
        "description": _kept(stream),
        "parameters": {name: dict(PARAMETERS[name]) for name in names},
        "messages": {kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"}},
    }


def _kept(stream: Stream) -> str:
    """How long a stream keeps a message, in words."""
    if stream.retention == "workqueue":
        kept = "until it is handled"
    elif stream.max_msgs_per_subject == 1:
        kept = "until the next of the same subject"
    else:
        kept = f"for {stream.max_age_s // DAY_S} days"
    full = "new ones are refused" if stream.discard == "new" else "the oldest make room"
    return (
        f"JetStream stream {stream.name}: a message is kept {kept};"
        f" above {stream.max_bytes // GB} GB {full}."
    )


_INBOX: Final[Json] = {
    "address": None,
    "title": "receipt",
    "description": "The inbox that a submission names in `Instep-Reply-To`.",
    "messages": {"Receipt": {"$ref": "#/components/messages/Receipt"}},
}


def _submit() -> Json:
    return {
        "action": "send",
        "summary": "Put a document into the index, or take it out.",
        "description": "JetStream's acknowledgement says that the submission is stored;"
        " the receipt says whether it was accepted.",
        "channel": {"$ref": f"#/channels/{_key(DocumentSubmitted)}"},
        "messages": [_of_channel(_key(DocumentSubmitted), DocumentSubmitted.__name__)],
        "reply": {
            "address": {"location": "$message.header#/Instep-Reply-To"},
            "channel": {"$ref": "#/channels/receipt"},
            "messages": [_of_channel("receipt", "Receipt")],
        },
    }


def _receive(kind: type[Event]) -> Json:
    return {
        "action": "receive",
        "summary": inspect.getdoc(kind),
        "channel": {"$ref": f"#/channels/{_key(kind)}"},
        "messages": [_of_channel(_key(kind), kind.__name__)],
    }


def _of_channel(channel: str, message: str) -> Json:
    return {"$ref": f"#/channels/{channel}/messages/{message}"}


def _message(model: type[BaseModel]) -> Json:
    headers = _headers(model)
    return {
        "name": event_name(model) if issubclass(model, Event) else "receipt",
        "summary": inspect.getdoc(model),
        "contentType": "application/json",
        **({"headers": {"type": "object", "properties": headers}} if headers else {}),
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
    }


def _headers(model: type[BaseModel]) -> Json:
    if not issubclass(model, Event):
        return {}
    if model is DocumentSubmitted:
        return _SUBMISSION_HEADERS
    if model not in OUTCOMES:
        return {"Nats-Msg-Id": _text("Names the publish call, never the work.")}
    return {
        "Nats-Msg-Id": _text("The fact; equal for the same fact published twice."),
        "ce-specversion": {"type": "string", "const": "1.0"},
        "ce-id": _text("The same as `Nats-Msg-Id`."),
        "ce-type": {"type": "string", "const": f"instep.{_type_name(model)}.v{VERSION}"},
        "ce-source": _text("`/instep/` and the name of the installation."),
        "ce-subject": _text("Source and percent-encoded path of the document, or of the batch."),
        "ce-time": {"type": "string", "format": "date-time"},
        "ce-datacontenttype": {"type": "string", "const": "application/json"},
        "ce-dataschema": {"type": "string", "const": schema_id(model)},
    }


def _text(description: str) -> Json:
    return {"type": "string", "description": description}


_SUBMISSION_HEADERS: Final[Json] = {
    "Nats-Msg-Id": _text(
        "Identity of the change, never of the content: a second submission with the same one,"
        " within ten minutes, is not stored."
    ),
    "Instep-Reply-To": _text(
        "Inbox for the receipt; starts with `_INBOX.`, or `_INBOX_publisher` for a key."
    ),
    "Content-Type": _text(
        "`application/json`, or `application/cloudevents+json` for an event in structured mode."
    ),
    "ce-type": _text(f"CloudEvents in binary mode: `instep.document.submitted.v{VERSION}`."),
}
