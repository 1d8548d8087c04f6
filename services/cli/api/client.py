"""HTTP to a gateway with the standard library: a search must not wait for imports."""

import json
import time
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from services.cli.exits import Stop, unreachable
from services.gateway.operations import OPERATIONS

TIMEOUT_S: Final = 30.0
ADDRESS_CHARACTERS: Final = 8000
"""The gateway reads at most 8,190 bytes of a request's first line."""


def ask(
    url: str,
    operation: str,
    fields: Mapping[str, Any],
    *,
    key: str | None = None,
    timeout_s: float = TIMEOUT_S,
) -> dict[str, Any]:
    """Do an operation of a gateway; ask again while the gateway is loading.

    Args:
        key: shown to a gateway that asks for one.
        timeout_s: how long it may load, and how long each answer may take.

    Raises:
        Stop: no gateway answers there (status 3), or the answer is no, with its reason.
    """
    method, target, body = request_of(operation, fields)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Stop(f"{url!r} is not the address of a gateway", fix="write http://127.0.0.1:8765")
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    headers = {"Content-Type": "application/json"} if body else {}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    make = partial(connect, parts.hostname, parts.port, timeout=timeout_s)
    request = method, parts.path.rstrip("/") + target, body, headers
    deadline = time.monotonic() + timeout_s
    try:
        status, text = _once(make(), *request)
        while status == 503 and b'"code": "loading"' in text and time.monotonic() < deadline:
            time.sleep(1)  # as its Retry-After says
            status, text = _once(make(), *request)
    except TimeoutError:
        raise unreachable(
            f"{url} does not answer within {timeout_s:.0f} s", "instep doctor"
        ) from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise unreachable(f"no gateway answers at {url} ({reason})", "instep up PATH") from None
    return read(url, status, text)


def _once(connection: HTTPConnection, *request: Any) -> tuple[int, bytes]:
    with closing(connection):
        connection.request(*request)
        answer = connection.getresponse()
        return answer.status, answer.read()


def request_of(operation: str, fields: Mapping[str, Any]) -> tuple[str, str, bytes | None]:
    """Method, address and body of an operation. Pure.

    Raises:
        Stop: an address cannot hold a field.
    """
    row = OPERATIONS[operation]
    in_json = row.fields_in_json(row.place)
    rest = {name: value for name, value in fields.items() if value not in (None, "", (), [])}
    for name, value in fields.items():
        in_path = name in row.place.parameters
        if (in_path or not in_json) and not _is_unicode(_text(value)):
            raise Stop(f"{name}: must be valid Unicode text")
        if in_path and not value:
            raise Stop(f"{name}: must not be empty")
    target = row.place.filled({name: str(rest.pop(name)) for name in row.place.parameters})
    if in_json:
        return row.place.method, target, json.dumps(rest).encode()
    query = urlencode({name: _text(value) for name, value in rest.items()})
    target += f"?{query}" if query else ""
    if len(target) > ADDRESS_CHARACTERS:
        longest = max(fields, key=lambda name: len(_text(fields[name])))
        raise Stop(f"{longest}: is too long for an address; shorten it")
    return row.place.method, target, None


def read(url: str, status: int, text: bytes) -> dict[str, Any]:
    """The JSON object of an answer. Raises Stop for a problem."""
    try:
        body = json.loads(text)
    except ValueError:
        raise unreachable(f"the program at {url} is not instep (HTTP {status})") from None
    if status < 400 or (status == 503 and "ready" in body):
        return dict(body)
    raise refusal(status, str(body.get("detail", f"HTTP {status}")), str(body.get("fix", "")))


def refusal(status: int, detail: str, fix: str) -> Stop:
    """The end of a command that the instance refuses."""
    return unreachable(detail, fix) if status >= 500 else Stop(detail, fix=fix)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes of an argument that are not UTF-8
        return False
    return True


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return ",".join(value) if isinstance(value, tuple | list) else str(value)
