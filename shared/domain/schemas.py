"""JSON Schema 2020-12 of the models that cross the bus. Pure.

A schema says what a reader must accept, so fields with defaults are optional: a message of an older
writer, still in a stream, fits it too.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared.domain.events import DocumentChanged, DocumentSubmitted

Json = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema(model: type[BaseModel], identity: str) -> Json:
    """JSON Schema of a model as readers must accept it; `identity` is its `$id`."""
    parts = definitions([model], "#/$defs/{model}")
    own = parts.pop(model.__name__)
    return {"$schema": DIALECT, "$id": identity, **own} | ({"$defs": parts} if parts else {})


def definitions(models: Sequence[type[BaseModel]], template: str) -> dict[str, Json]:
    """Schemas of the models and of all that they hold, by class name.

    Args:
        template: how one refers to another, e.g. `#/$defs/{model}`.
    """
    _, schema = models_json_schema([(m, "validation") for m in models], ref_template=template)
    made: dict[str, Json] = schema["$defs"]
    for model in _with_parts(models):
        for field, text in field_descriptions(model).items():
            made[model.__name__]["properties"][field].setdefault("description", text)
    return {name: _plain(made[name] | _RULES.get(name, {})) for name in sorted(made)}


def _plain(schema: Any) -> Any:
    """Without what only repeats other words: field titles, OpenAPI's discriminator."""
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


_CONTENTS: Final = ("text", "data_base64", "chunks", "ref")
_RULES: Final[Mapping[str, Json]] = {
    DocumentSubmitted.__name__: {
        "if": {"required": ["op"], "properties": {"op": {"const": "delete"}}},
        "then": {"not": {"anyOf": [_given(field) for field in _CONTENTS]}},
        "else": {"oneOf": [_given(field) for field in _CONTENTS]},
    },
    DocumentChanged.__name__: {
        "if": {"properties": {"op": {"const": "deleted"}}},
        "then": {"not": _given("content")},
        "else": _given("content"),
    },
}
"""What the models' validators ask beyond the types of single fields."""


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
