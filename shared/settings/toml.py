"""A settings file, and where in it each setting stands."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared.errors import ConfigurationError


def read_toml(path: Path) -> tuple[dict[str, Any], Mapping[str, int]]:
    """The table of a file, and the lines of its keys by dotted name."""
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text), _key_lines(text)
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such file") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from None


def _key_lines(text: str) -> dict[str, int]:
    """Where keys stand, for messages: the parser does not tell. Only plain layouts are found."""
    table = ""
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            table = re.sub(r"[\s\"']", "", header[1])
            lines.setdefault(table, number)
        elif key := re.match(r"([\w.\-\"'\s]++)=", line):
            name = re.sub(r"[\s\"']", "", key[1])
            lines.setdefault(f"{table}.{name}" if table else name, number)
    return lines


def line_of(name: str, lines: Mapping[str, int]) -> str:
    """`:14`, of the key or of what it is written in; empty when it was not found."""
    while name and name not in lines:
        name = name.rpartition(".")[0]
    return f":{lines[name]}" if name else ""


def leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
