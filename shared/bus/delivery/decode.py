"""The decoding of a message's bytes into the event of its stage. Pure."""

import base64
import json
from collections.abc import Mapping
from typing import Any, cast

from pydantic import ValidationError

from shared.domain.errors import GARBAGE, MalformedEvent
from shared.domain.events import (
    DocumentChanged,
    DocumentSubmitted,
    Event,
    Result,
    malformed,
    parse_result,
)
from shared.domain.topology import E, Stage

STRUCTURED = "application/cloudevents+json"


def decode(
    stage: Stage[E], *, subject: str, data: bytes, headers: Mapping[str, str], sequence: int
) -> E:
    """The event that a message of the stage carries.

    `documents.changed` learns its revision here: the sequence under which the stream stored it.

    Raises:
        MalformedEvent: not such an event; the text names fields and rules, never values.
    """
    try:
        event = _event(stage, subject, data, headers)
    except ValidationError as error:
        raise malformed(error) from None
    except KeyError:
        raise MalformedEvent("no event belongs to this subject") from None
    if isinstance(event, DocumentChanged):
        document = event.document.model_copy(update={"revision": sequence})
        event = event.model_copy(update={"document": document})
    if not isinstance(event, DocumentSubmitted) and event.subject != subject:
        raise MalformedEvent("source, document or generation are not those of the subject")
    return cast(E, event)


def _event(stage: Stage[Any], subject: str, data: bytes, headers: Mapping[str, str]) -> Event:
    if stage.event is Result:
        return parse_result(subject, data)
    if stage.event is DocumentSubmitted and _header(headers, "content-type").startswith(STRUCTURED):
        data = _unwrap(data)
    event: Event = stage.event.model_validate_json(data)
    return event


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((v for k, v in headers.items() if k.lower() == name), "").lower()


def _unwrap(data: bytes) -> bytes:
    """The data of a CloudEvent in structured mode."""
    try:
        envelope = json.loads(data)
        if "data_base64" in envelope:
            return base64.b64decode(envelope["data_base64"], validate=True)
        return json.dumps(envelope["data"]).encode()
    except GARBAGE:
        raise MalformedEvent("a structured CloudEvent is an object with data") from None
