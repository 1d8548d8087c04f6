"""The signature and the name of an event that is sent, as Standard Webhooks has them. Pure."""

import base64
import binascii
import hashlib
import hmac
import json
from typing import Final

from services.gateway.decoding import encoded
from services.gateway.events.views import EventView, type_of

PREFIX: Final = "whsec_"
SHORTEST_BYTES: Final = 16


def secret_bytes(secret: str) -> bytes:
    """The key of a secret: base64 behind `whsec_`, else the text itself.

    Raises:
        ValueError: it is too short, or no base64. The text never repeats the secret.
    """
    key = secret.encode()
    if secret.startswith(PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"what follows {PREFIX} is not base64") from None
    if len(key) < SHORTEST_BYTES:
        raise ValueError(f"a secret has at least {SHORTEST_BYTES} bytes")
    return key


def signature(key: bytes, id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`."""
    signed = hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(signed).decode()


def headers_of(key: bytes, id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a try. `timestamp`: of the try, in Unix seconds."""
    return {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(key, id, timestamp, body),
    }


def id_of(view: EventView, sequence: int) -> str:
    """The name of an event, the same in every try.

    With its time, because a stream that is made anew gives sequences again.
    """
    return f"{view.generation}-{sequence}-{int(view.at.timestamp() * 1000)}"


def body_of(view: EventView, sequence: int) -> bytes:
    """The JSON object that is sent: that of server-sent events with their type and id."""
    told = {"type": type_of(view), "id": sequence, **view.model_dump(mode="json")}
    return encoded(json.dumps(told, ensure_ascii=False, separators=(",", ":")))
