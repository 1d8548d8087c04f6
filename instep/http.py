"""Requests to a gateway and its answers, for every transport. Pure, and light to import."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, urlencode, urlsplit

from services.gateway.operations import Operation
from shared.domain.errors import InstepError

Body = bytes | Callable[[], Iterator[bytes]]
"""Of a request; one that is long is made while it is sent."""
ADDRESS_CHARACTERS: Final = 8000
"""The gateway reads at most 8,190 bytes of a request's first line."""


class ClientError(InstepError):
    """A request without the answer that was asked for.

    Args:
        detail: one sentence, without a full stop.
        fix: what to do; may be empty.
    """

    def __init__(self, detail: str, fix: str = "") -> None:
        super().__init__(detail)
        self.detail, self.fix = detail, fix


class Unreachable(ClientError):
    """No gateway answers there, or not in time."""


class Refused(ClientError):
    """The gateway's answer is no. A request that cannot be sent is refused in the same way.

    Args:
        code: stable, as `document_not_found`; `/problems/CODE` explains it.
        status: of HTTP.
        request_id: names the request in the log; empty: it was not sent.
        errors: wrong places of the request, each with `at`, `code` and `detail`.
        retry_after_s: when to ask again; None: the gateway does not say.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        fix: str = "",
        *,
        status: int = 422,
        problem: Mapping[str, Any] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail, fix)
        self.code, self.status, self.retry_after_s = code, status, retry_after_s
        self.request_id = str((problem or {}).get("request_id", ""))
        self.errors: Sequence[Mapping[str, Any]] = (problem or {}).get("errors", ())


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it is sent: `target` is path and query below the gateway's URL."""

    method: str
    target: str
    body: Body | None
    timeout_s: float
    """How long the answer may take."""
    own: Mapping[str, str] = field(default_factory=dict)
    """Headers of this request."""

    def headers(self, key: str | None) -> dict[str, str]:
        """The headers, with the key of the gateway."""
        made = {"Content-Type": "application/json"} if self.body is not None else {}
        made |= self.own
        return made | ({"Authorization": f"Bearer {key}"} if key is not None else {})


@dataclass(frozen=True, slots=True)
class Extras:
    """What a writing request sends besides its fields.

    if_revision: the revision that the document must have; 0: there is none.
    """

    body: Body | None = None
    media_type: str | None = None
    if_revision: int | None = None
    idempotency_key: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Raises Refused: a header cannot hold a value."""
        made = {}
        if self.body is not None:
            made["Content-Type"] = self.media_type or "application/octet-stream"
        if self.if_revision is not None:
            made["If-Match"] = f'"{self.if_revision}"'
        if self.idempotency_key is not None:
            made["Idempotency-Key"] = self.idempotency_key
        for name, value in made.items():
            if not (value.isascii() and value.isprintable()):
                raise Refused("invalid_request", f"{name}: must be printable ASCII")
        return made


def json_line(value: object) -> bytes:
    """A value as JSON in UTF-8, which has as many bytes as the gateway counts.

    Half of a surrogate pair, which UTF-8 cannot hold, stays an escape: the gateway names its field.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace")


def server_of(url: str) -> SplitResult:
    """The parts of a gateway's URL. Raises Refused."""
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise Refused(
            "invalid_request",
            f"{url!r} is not the address of a gateway",
            "write http://127.0.0.1:8765",
        )
    return parts


def call_of(
    operation: Operation,
    fields: Mapping[str, Any],
    *,
    sending: Extras = Extras(),
    timeout_s: float | None = None,
) -> Call:
    """The request of an operation; fields that are None or empty are not sent.

    Args:
        timeout_s: how long the answer may take; None: as the table says, and the time of `wait`.

    Raises:
        Refused: an address cannot hold a field.
    """
    if operation.body and sending.body is None:  # an empty body would empty the document
        raise Refused("invalid_request", f"{operation.name}: sends a body that is no JSON object")
    place = operation.place
    in_json = operation.fields_in_json(place)
    rest = {name: value for name, value in fields.items() if value not in (None, "", (), [])}
    for name, value in fields.items():
        in_path = name in place.parameters
        if (in_path or not in_json) and not _is_unicode(_text(value)):
            raise Refused("not_unicode", f"{name}: must be valid Unicode text")
        if in_path and not value:
            raise Refused("invalid_request", f"{name}: must not be empty")
    target = place.filled({name: str(rest.pop(name)) for name in place.parameters})
    if timeout_s is None:
        timeout_s = operation.timeout_s + float(rest.get("wait") or 0)
    if in_json:
        body = json_line(rest)
        return Call(place.method, target, body, timeout_s, sending.headers)
    query = urlencode({name: _text(value) for name, value in rest.items()})
    target += f"?{query}" if query else ""
    if len(target) > ADDRESS_CHARACTERS:
        longest = max(fields, key=lambda name: len(_text(fields[name])))
        raise Refused("invalid_request", f"{longest}: is too long for an address; shorten it")
    return Call(place.method, target, sending.body, timeout_s, sending.headers)


@dataclass(slots=True)
class EventLines:
    """Makes events of the lines of a stream, and remembers where to go on. Pure."""

    after: int | None
    """Id of the last event that came; None: none has."""
    _id: int | None = None
    _kind: str = ""
    _data: str = ""

    def take(self, line: bytes) -> tuple[str, dict[str, Any]] | None:
        """Type and data of the event that a line ends; None: it ends none."""
        name, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if name == "id" and value.isdecimal():
            self._id = int(value)
        elif name == "event":
            self._kind = value
        elif name == "data":
            self._data += value
        if line.strip():
            return None
        if self._id is not None:
            self.after = self._id  # only now is the whole event there
        kind, data = self._kind, self._data
        self._id, self._kind, self._data = None, "", ""
        return (kind, json.loads(data)) if data else None


@dataclass(frozen=True, slots=True)
class Received:
    """An answer as it came."""

    status: int
    body: bytes
    retry_after: str | None = None


def read(url: str, operation: Operation, got: Received) -> dict[str, Any]:
    """The JSON object of an answer.

    Raises:
        Refused: the answer is a problem.
        Unreachable: it is not an answer of a gateway.
    """
    try:
        body = json.loads(got.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Unreachable(f"the program at {url} is not instep (HTTP {got.status})")
    if got.status < 400 or (got.status in operation.other_statuses and "code" not in body):
        return body
    raise Refused(
        str(body.get("code", "")),
        str(body.get("detail", f"HTTP {got.status}")),
        str(body.get("fix", "")),
        status=got.status,
        problem=body,
        retry_after_s=_seconds(got.retry_after),
    )


def read_lines(url: str, operation: Operation, got: Received) -> list[dict[str, Any]]:
    """The JSON objects of an answer that has one in each line.

    Raises:
        Refused: the answer is a problem.
        Unreachable: it is not such an answer.
    """
    if got.status != 200:
        read(url, operation, got)
    try:
        found = [json.loads(line) for line in got.body.splitlines()]
    except ValueError:
        found = [None]
    if not all(isinstance(one, dict) for one in found):
        raise Unreachable(f"the program at {url} is not instep (HTTP {got.status})")
    return found


def pause_s(operation: Operation, refused: Refused, again: Collection[str] | None) -> float | None:
    """How long to wait before a request is made again; None: it is not made again.

    Only requests that change nothing are, after a 503 that says when.

    Args:
        again: the codes that pass by themselves; None: all.
    """
    if not operation.is_safe or refused.status != 503 or refused.retry_after_s is None:
        return None
    return refused.retry_after_s if again is None or refused.code in again else None


def _seconds(value: str | None) -> float | None:
    """Of a header; a date counts as one second, for the gateway sends none."""
    if value is None:
        return None
    return float(value) if value.isascii() and value.isdigit() and len(value) < 6 else 1.0


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
