"""Addresses of databases, and what a query of settings may be. Pure."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

DRIVERS: Final = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "sqlite": "sqlite",
}
_QUOTED: Final = re.compile(
    r"'[^']*+'?|\"[^\"]*+\"?|`[^`]*+`?|--[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/)?"
)
"""Also what is not closed, up to the end: so its end is looked for only once."""
_READS: Final = ("select", "with", "values", "table")


@dataclass(frozen=True, slots=True)
class SqlAddress:
    dialect: str
    """One of the keys of DRIVERS."""
    shown: str
    """For people: without user, password and options."""


def parse(url: str) -> SqlAddress:
    """Raises ValueError: it is no address of a database; the text does not hold the address."""
    parts = urlsplit(url)
    if parts.scheme not in DRIVERS:
        known = ", ".join(f"{one}://" for one in DRIVERS if one != "postgres")
        raise ValueError(f"must begin with one of {known}")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("its port is no number") from None
    if parts.scheme == "sqlite":
        if len(parts.path) < 2 or parts.netloc:
            raise ValueError('names no file, as "sqlite:///shop.db"')
        return SqlAddress("sqlite", f"sqlite://{parts.path}")
    if len(parts.path) < 2:
        raise ValueError('names no database, as "postgresql://reader@localhost/shop"')
    host = f"{parts.hostname or ''}{f':{port}' if port else ''}"
    return SqlAddress(parts.scheme, f"{parts.scheme}://{host}{parts.path}")


def is_database(url: str) -> bool:
    """Whether it begins as the address of a database does, perhaps with the name of a driver."""
    scheme, mark, _ = url.partition("://")
    return bool(mark) and scheme.partition("+")[0].lower() in DRIVERS


def without_secrets(url: str) -> str:
    """An address of a database with its user, without password and options, nor a driver.

    Raises:
        ValueError: it is none.
    """
    scheme, mark, rest = url.partition("://")
    address = parse(f"{scheme.partition('+')[0].lower()}{mark}{rest}")
    user = urlsplit(url).username
    head, _, tail = address.shown.partition("://")
    return f"{head}{mark}{f'{user}@' if user else ''}{tail}"


def fault_of_query(query: str) -> str | None:
    """Why a text is no query; the server itself refuses a query that writes."""
    if not all(_is_closed(found[0]) for found in _QUOTED.finditer(query)):
        return "query has a quote or a comment without its end"
    bare = _QUOTED.sub(" ", query).strip().removesuffix(";").strip()
    first = re.match(r"\(*\s*(\w*)", bare)
    if first is None or first[1].lower() not in _READS:
        return "query must only read: it begins with SELECT or WITH"
    if ";" in bare:
        return "query must be one statement"
    depth = 0
    for char in bare:
        depth += (char == "(") - (char == ")")
        if depth < 0:
            return "query has a ) without a ("
    return None


def _is_closed(part: str) -> bool:
    if part.startswith("/*"):
        return len(part) > len("/*/") and part.endswith("*/")
    return part.startswith("--") or (len(part) > 1 and part[0] == part[-1])
