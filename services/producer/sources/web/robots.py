"""The rules of a robots.txt, as RFC 9309 reads them. Pure.

Patterns are matched without regular expressions, so the time of an answer is bounded whatever a
server writes: the standard library's reader knows neither `*` nor the longest match.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from shared.domain.addresses.web_address import normal

MAX_BYTES: Final = 512_000
"""Rules after it do not count; RFC 9309 asks for at least 500 KiB."""
MAX_RULES: Final = 1_000
MAX_PATTERN_CHARS: Final = 2_048
"""No path of a page is longer."""
MAX_CRAWL_DELAY_S: Final = 30.0
AGENT: Final = "instep"
"""The name that a group of a robots.txt is for."""


class _Rule(NamedTuple):
    length: int
    """Of the pattern; the longest one that matches decides."""
    allows: bool
    pattern: str


@dataclass(slots=True)
class Robots:
    """What one origin asks of this program."""

    rules: list[_Rule] = field(default_factory=list)
    """Longest first; of two as long the one that allows."""
    delay_s: float = 0.0
    """Crawl-delay, within its bound."""

    def allows(self, url: str) -> bool:
        """
        Args:
            url: in its one spelling (`shared.domain.addresses.web_address.normal`).
        """
        place = urlsplit(url)
        asked = place.path + (f"?{place.query}" if place.query else "")
        if asked == "/robots.txt":
            return True
        return next((rule.allows for rule in self.rules if matches(rule.pattern, asked)), True)


def parse(data: bytes) -> Robots:
    """The rules for `instep`, or, where no group names it, those for `*`."""
    groups: dict[str, Robots] = {AGENT: Robots(), "*": Robots()}
    named = set[str]()
    found, begun = set[str](), False
    for key, value in _lines(data[:MAX_BYTES]):
        if key == "user-agent":
            if begun:
                named, begun = set(), False
            agent = _agent(value)
            if agent in groups:
                named.add(agent)
                found.add(agent)
            continue
        begun = True
        for name in named:
            _add(groups[name], key, value)
    chosen = groups[AGENT if AGENT in found else "*"]
    chosen.rules.sort(reverse=True)
    return chosen


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern with `*` and a final `$` matches the beginning of a path.

    Takes the first place of each part between two stars, which is enough: steps in proportion to
    the path for each part.
    """
    to_end = pattern.endswith("$")
    first, *others = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    if not others:
        return not to_end or path == first
    at = len(first)
    *middle, last = others
    for part in middle:
        at = path.find(part, at)
        if at < 0:
            return False
        at += len(part)
    if to_end:
        return len(path) - len(last) >= at and path.endswith(last)
    return path.find(last, at) >= 0


def _lines(data: bytes) -> Iterator[tuple[str, str]]:
    text = data.decode("utf-8-sig", "replace")
    for line in re.split(r"[\r\n]", text):
        key, colon, value = line.partition("#")[0].partition(":")
        key = key.strip().lower()
        if colon and key in ("user-agent", "allow", "disallow", "crawl-delay"):
            yield key, value.strip()


def _agent(value: str) -> str:
    """The product's name, without version and comment."""
    return value if value == "*" else re.split(r"[^A-Za-z_-]", value, maxsplit=1)[0].lower()


def _add(robots: Robots, key: str, value: str) -> None:
    if key == "crawl-delay":
        try:
            wanted = float(value[:20])
        except ValueError:
            return
        if wanted > 0:
            robots.delay_s = min(wanted, MAX_CRAWL_DELAY_S)
    elif value.startswith(("/", "*")) and len(robots.rules) < MAX_RULES:
        if len(value) > MAX_PATTERN_CHARS:
            return
        pattern = _spelt(value)
        robots.rules.append(_Rule(len(pattern), key == "allow", pattern))


def _spelt(pattern: str) -> str:
    """With escapes as the addresses have them that it is compared with."""
    anchored = pattern if pattern.startswith("/") else f"/{pattern}"
    try:
        kept = normal(f"http://h{anchored.partition('?')[0]}").removeprefix("http://h")
        query = anchored.partition("?")
        spelt = kept + (
            normal(f"http://h/?{query[2]}").removeprefix("http://h/") if query[1] else ""
        )
    except ValueError:
        return pattern
    if query[1] and not query[2]:
        spelt += "?"
    return spelt if pattern.startswith("/") else spelt.removeprefix("/")
