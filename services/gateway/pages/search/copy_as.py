"""A question as a command of curl, of instep, and as Python. Pure."""

import json
import shlex
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus

from services.gateway.operations import OPERATIONS

KEY: Final = "sed 's/^/Authorization: Bearer /' .instep/gateway.key | curl -H @-"
"""curl with the owner's key, which no list of processes shows."""
OPEN: Final = "curl"


def as_curl(fields: Mapping[str, Any], base: str, *, needs_key: bool) -> str:
    """A command of a shell.

    Args:
        fields: of a search, or with `name` of the question for similar documents.
        base: scheme and host of the gateway.
    """
    curl = KEY if needs_key else OPEN
    if "name" in fields:
        row = OPERATIONS["similar"]
        query = "&".join(f"{key}={_one(value)}" for key, value in fields.items() if key != "name")
        address = f"{base}{row.place.filled({'name': fields['name']})}"
        return f"{curl} {shlex.quote(address + (f'?{query}' if query else ''))}"
    address = f"{base}{OPERATIONS['search'].place.address}"
    body = json.dumps(_numbers(fields), ensure_ascii=False)
    return f"{curl} {shlex.quote(address)} \\\n  -d {shlex.quote(body)}"


def as_command(fields: Mapping[str, Any]) -> str:
    """A command of instep."""
    similar = "name" in fields
    words = ["instep", "similar" if similar else "search"]
    options = {"mode": "--mode", "limit": "-n", "filter": "--filter"}
    for name, option in options.items():
        if name in fields:
            words += [option, str(fields[name])]
    for source in fields.get("source", ()):
        words += ["--source", source]
    for name, value in fields.get("weights", {}).items():
        words += ["--weight", f"{name}={value}"]
    if not similar:
        words.append("--explain")
    asked = fields["name"] if similar else fields["q"]
    return shlex.join([*words, *(["--"] if asked.startswith("-") else []), asked])


def as_python(fields: Mapping[str, Any]) -> str:
    """A program."""
    method, first = ("similar", "name") if "name" in fields else ("search", "q")
    told = _numbers(fields)
    rest = [f"{name}={value!r}" for name, value in told.items() if name != first]
    arguments = "".join(f"    {one},\n" for one in (repr(told[first]), *rest))
    return (
        "from instep.client import Client\n\n"
        f"answer = Client().{method}(\n{arguments})\n"
        "for hit in answer.hits:\n"
        "    print(hit.score, hit.document.path, hit.chunk.heading)\n"
    )


def _numbers(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a form with their numbers as numbers."""
    told = dict(fields)
    if "limit" in told:
        told["limit"] = int(float(told["limit"]))  # a whole number may be written 5.0
    if "source" in told:
        told["source"] = list(told["source"])
    if "weights" in told:
        told["weights"] = {name: float(value) for name, value in told["weights"].items()}
    return told


def _one(value: Any) -> str:
    return quote_plus(",".join(value) if isinstance(value, tuple) else str(value))
