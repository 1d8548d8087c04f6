"""Whether a page asks indexes to leave it out. Pure."""

import re
from collections.abc import Iterable
from typing import Final

from services.producer.sources.web.robots import AGENT

_META: Final = re.compile(r"<meta[\s/]([^<>]{0,1000})>")
_VALUE: Final = re.compile(r"\b(name|content)\s{0,20}=\s{0,20}[\"']?([^\"'>]{0,500})")
_WITHIN_BYTES: Final = 256 * 1024
_NO: Final = frozenset({"noindex", "none"})


def by_header(values: Iterable[str]) -> bool:
    """By `X-Robots-Tag`: directives, after the name of a program they may be for."""
    for value in values:
        agent, colon, rest = value.lower().partition(":")
        named = colon and "," not in agent
        if named and agent.strip() not in (AGENT, "unavailable_after"):
            continue
        if _says_no(rest if named else value.lower()):
            return True
    return False


def by_page(data: bytes) -> bool:
    """By an element `meta` of HTML whose name is `robots`, or this program's."""
    text = data[:_WITHIN_BYTES].decode("latin-1").lower()
    if "robots" not in text and AGENT not in text:
        return False
    first, *others = text.split("<!--")
    shown = first + "".join(part.partition("-->")[2] for part in others)
    for element in _META.finditer(shown):
        values = {name: value.strip() for name, value in _VALUE.findall(element[1])}
        if values.get("name") in ("robots", AGENT) and _says_no(values.get("content", "")):
            return True
    return False


def _says_no(directives: str) -> bool:
    return bool(_NO & {one.strip() for one in directives.split(",")})
