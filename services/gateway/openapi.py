"""The OpenAPI document of the gateway, made of the table of operations. Pure.

The same code gives the same document. Requests are described as the gateway accepts them, answers
as it sends them.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

from services.gateway.operations import JSON, NDJSON, OPERATIONS, Operation, Route, resolve
from services.gateway.problems import KINDS
from services.gateway.views import ProblemView
from shared.contracts import VERSION, Json, definitions

FILE: Final = "openapi.json"
PROBLEM: Final = "application/problem+json"
TEMPLATE: Final = "#/components/schemas/{model}"

ALWAYS: Final = (
    "invalid_request",
    "unknown_field",
    "not_unicode",
    "not_http",
    "no_key",
    "invalid_token",
    "bad_host",
    "forbidden",
    "internal_error",
    "bus_unavailable",
    "store_unavailable",
    "encoder_busy",
    "loading",
    "issuer_unavailable",
    "unavailable",
)
"""Codes with which every operation may answer."""
OF_BODIES: Final = ("malformed", "request_timeout", "request_too_large")
OF_PARAMETERS: Final = ("not_found",)
"""Where a part of the address is empty, or is `..`."""


@cache
def text() -> str:
    """The document, as it is checked in and served."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def document() -> Json:
    """The OpenAPI 3.1 document."""
    paths: dict[str, Json] = {}
    for operation in OPERATIONS.values():
        for place in operation.places:
            paths.setdefault(place.address, {})[place.method.lower()] = _operation(operation, place)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "instep",
            "version": f"{VERSION}.0.0",
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "the gateway that serves this document"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "responses": {name: _refusal(codes) for codes, name in _SHARED.items()},
            "headers": {
                "Request-Id": {
                    "description": "Of the request, or a new one; the log names it.",
                    "schema": {"type": "string"},
                }
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key, as `instep keys create` makes one.",
                },
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Any user, and the key as the password.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "instep_SESSION",
                    "description": "Of a browser that came by a link of `browser_link`; the name"
                    " ends in letters of the instance.",
                },
            },
        },
    }


_ABOUT: Final = (
    "The gateway of instep. A request shows a key, and `security` names the scope that the key must"
    ' have. An instance with `gateway.auth = "none"` answers on loopback addresses only and needs'
    " none. Errors are RFC 9457 problems: their `code` is never renamed. Within v1 operations and"
    " fields are only added: ignore unknown fields of answers; the gateway refuses unknown fields"
    " of requests."
)


def _operation(operation: Operation, place: Route) -> Json:
    first = place == operation.place
    made: Json = {
        "operationId": operation.name if first else f"{operation.name}_{place.method.lower()}",
        "summary": operation.summary,
        "security": _security(operation),
    }
    fields = _fields(operation)
    parameters = [_in_path(name, fields[name]) for name in place.parameters]
    rest = {name: field for name, field in fields.items() if name not in place.parameters}
    in_json = operation.fields_in_json(place)
    if not in_json:
        parameters += [p for name, field in rest.items() if (p := _in_query(name, field))]
    parameters += [
        _parameter(name, "header", {"type": "string"}, required=False) for name in operation.headers
    ]
    if operation.conditional:
        parameters.append(_IF_NONE_MATCH)
    if parameters:
        made["parameters"] = parameters
    if in_json and rest:
        made["requestBody"] = _json_body(operation, place, rest)
    elif operation.body:
        content: Json = {media: {} for media in operation.body}
        made["requestBody"] = {"required": True, "content": content}
    made["responses"] = _responses(operation, place)
    return made


def _security(operation: Operation) -> list[Json]:
    if operation.scope == "none":
        return [{}]
    return [*({name: [operation.scope]} for name in ("bearer", "basic", "session")), {}]


@cache
def _fields(operation: Operation) -> Mapping[str, Json]:
    """The schemas of a request's fields; those without a default have `required`."""
    model = resolve(operation.request)
    schema = definitions([model], TEMPLATE)[model.__name__]
    needed = schema.get("required", ())
    return {
        name: {"schema": field, "required": name in needed}
        for name, field in schema.get("properties", {}).items()
    }


def _in_path(name: str, field: Json) -> Json:
    return _parameter(name, "path", {**field["schema"]}, required=True)


def _in_query(name: str, field: Json) -> Json | None:
    """The parameter of the query, as a text where it may be an object too; None: a query cannot
    hold the field."""
    schema = {**field["schema"]}
    offered = schema.pop("anyOf", ())
    options = [one for one in offered if one.get("type") not in ("null", "object")]
    if len(options) == 1:
        schema = options[0] | {k: v for k, v in schema.items() if k != "default" or v is not None}
    if "$ref" in schema:
        return None
    made = _parameter(name, "query", schema, required=field["required"])
    return made | ({"style": "form", "explode": False} if schema.get("type") == "array" else {})


def _parameter(name: str, where: str, schema: Json, *, required: bool) -> Json:
    text = schema.pop("description", None)
    made: Json = {"name": name, "in": where, "required": required}
    return made | ({"description": text} if text else {}) | {"schema": schema}


def _json_body(operation: Operation, place: Route, rest: Mapping[str, Json]) -> Json:
    model = resolve(operation.request)
    needed = [name for name, field in rest.items() if field["required"]]
    schema: Json = {"$ref": TEMPLATE.format(model=model.__name__)}
    if place.parameters:
        schema = {
            "type": "object",
            "properties": {name: field["schema"] for name, field in rest.items()},
            "required": needed,
            "additionalProperties": False,
        }
    return {"required": bool(needed), "content": {JSON: {"schema": schema}}}


def _responses(operation: Operation, place: Route) -> Json:
    content: Json = {media: {"schema": {"type": "string"}} for media in operation.produces}
    if JSON in content:
        content[JSON] = {"schema": _answer(operation)}
    if operation.lines:
        told = f"Each line is a JSON object: {resolve(operation.lines).__name__}."
        content[NDJSON]["schema"]["description"] = told
    made: Json = {}
    for status in (operation.status, *operation.other_statuses):
        made[str(status)] = {
            "description": operation.summary,
            "headers": _HEADERS,
            "content": dict(content),
        }
    if operation.conditional:
        known = made[str(operation.status)]
        known["headers"] = _HEADERS | _ETAG
        made["304"] = {"description": "The client has this answer.", "headers": known["headers"]}
    for status, codes in _by_status(_codes(operation, place)).items():
        if str(status) in made:
            made[str(status)]["content"] |= _refusal(codes)["content"]
        elif codes in _SHARED:
            made[str(status)] = {"$ref": f"#/components/responses/{_SHARED[codes]}"}
        else:
            made[str(status)] = _refusal(codes)
    return dict(sorted(made.items()))


def _answer(operation: Operation) -> Json:
    if not operation.answer:
        return {"type": "object"}
    return {"$ref": TEMPLATE.format(model=resolve(operation.answer).__name__)}


def _codes(operation: Operation, place: Route) -> tuple[str, ...]:
    found = [*ALWAYS, *operation.refusals]
    if operation.body or operation.fields_in_json(place):
        found += OF_BODIES
    if place.parameters:
        found += OF_PARAMETERS
    return tuple(found)


def _by_status(codes: Iterable[str]) -> dict[int, tuple[str, ...]]:
    found: dict[int, list[str]] = {}
    for code in sorted(set(codes)):
        found.setdefault(KINDS[code].status, []).append(code)
    return {status: tuple(found[status]) for status in sorted(found)}


def _refusal(codes: tuple[str, ...]) -> Json:
    """The response with these codes, all of one status."""
    headers = dict(_HEADERS)
    if KINDS[codes[0]].status == 503:
        headers["Retry-After"] = {"description": "Seconds.", "schema": {"type": "string"}}
    schema = {
        "allOf": [
            {"$ref": TEMPLATE.format(model=ProblemView.__name__)},
            {"properties": {"code": {"enum": list(codes)}}},
        ]
    }
    return {
        "description": "\n".join(f"- `{code}`: {KINDS[code].title}" for code in codes),
        "headers": headers,
        "content": {PROBLEM: {"schema": schema}},
    }


_IF_NONE_MATCH: Final[Json] = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of an answer that the client has.",
    "schema": {"type": "string"},
}
_ETAG: Final[Json] = {
    "ETag": {
        "description": 'Of this answer, as `"SEQUENCE-DIGEST"`; the sequence is that of the newest'
        " known change.",
        "schema": {"type": "string"},
    }
}
_HEADERS: Final[Json] = {"Request-Id": {"$ref": "#/components/headers/Request-Id"}}


_SHARED: Final[Mapping[tuple[str, ...], str]] = {
    codes: f"{name}{status}"
    for name, found in (
        ("OfBody", (*ALWAYS, *OF_BODIES)),
        ("OfAddress", OF_PARAMETERS),
        ("Problem", ALWAYS),
    )
    for status, codes in _by_status(found).items()
}
"""Names of the responses that many operations have, by their codes, which have one status."""


def _schemas() -> dict[str, Any]:
    requests = {resolve(row.request) for row in OPERATIONS.values() if _has_body(row)}
    answers = {resolve(row.answer) for row in OPERATIONS.values() if row.answer}
    answers |= {resolve(row.lines) for row in OPERATIONS.values() if row.lines}
    named = sorted(requests, key=lambda model: str(model.__name__))
    told = sorted({*answers, ProblemView}, key=lambda model: str(model.__name__))
    made = definitions(told, TEMPLATE, mode="serialization") | definitions(named, TEMPLATE)
    return dict(sorted(made.items()))


def _has_body(row: Operation) -> bool:
    """Whether the model of the request is the schema of a body as it is."""
    return any(row.fields_in_json(place) and not place.parameters for place in row.places)
