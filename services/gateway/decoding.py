"""The decoding of requests: from bytes to fields. Pure."""

import json
from collections.abc import Iterable
from typing import Any, Final

from services.gateway.problems import Problem

MAX_VALUES: Final = 10_000
"""Values in the body of a request. Each may be wrong, and every fault takes 10 us to report."""


def fields_of(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; an empty body is an empty object.

    Raises:
        Problem: `malformed`, `not_unicode`, `request_too_large`.
    """
    try:
        data = json.loads(body or b"{}", parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Problem("malformed", "the body is not JSON") from None
    if not isinstance(data, dict):
        raise Problem("malformed", "the body is not a JSON object")
    _check(data)
    return data


def encoded(text: str) -> bytes:
    """JSON as UTF-8; halves of characters, as file names may have, become `\\udcff`."""
    return text.encode("utf-8", "backslashreplace")


def _check(data: dict[str, Any]) -> None:
    waiting: list[Any] = [data]
    seen = 0
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            _check_text([value])
        elif isinstance(value, dict):
            _check_text(value)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        seen += 1
        if seen + len(waiting) > MAX_VALUES:
            raise Problem("request_too_large", f"the body has more than {MAX_VALUES:,} values")


def _check_text(texts: Iterable[str]) -> None:
    """Raises Problem `not_unicode`: one of the texts has half a character."""
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError:
        raise Problem("not_unicode", "the request has text that is not valid Unicode") from None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
