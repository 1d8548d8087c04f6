"""All configuration, read once at the edge and passed down; no other module reads the environment.

Precedence: defaults < `instep.toml` < `INSTEP_*` < command-line options. Unknown names are refused
with a suggestion: pydantic-settings would ignore a misspelt variable.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from shared.domain.errors import ConfigurationError
from shared.domain.faults import ALIASES, PREFIX, faults
from shared.settings.groups import (
    SOURCES,
    BucketSettings,
    Bus,
    Chunking,
    Embedding,
    Extraction,
    FolderSettings,
    Gateway,
    Health,
    Pgvector,
    PushSettings,
    Records,
    RerankSettings,
    SearchSettings,
    Settings,
    SettingsGroup,
    Source,
    SourceChunking,
    SourceSettings,
    SqlSettings,
    Store,
    SweepSettings,
    Telemetry,
    TemplateChunking,
    ValidationSettings,
    WatchedSettings,
    Weaviate,
    Webhook,
    WebSettings,
)

__all__ = [
    "ELSEWHERE",
    "BucketSettings",
    "Bus",
    "Chunking",
    "Embedding",
    "Extraction",
    "FolderSettings",
    "Gateway",
    "Health",
    "LoadedSettings",
    "Pgvector",
    "PushSettings",
    "Records",
    "RerankSettings",
    "SearchSettings",
    "Settings",
    "SettingsGroup",
    "Source",
    "SourceChunking",
    "SourceSettings",
    "SqlSettings",
    "Store",
    "SweepSettings",
    "Telemetry",
    "TemplateChunking",
    "ValidationSettings",
    "WatchedSettings",
    "Weaviate",
    "WebSettings",
    "Webhook",
    "load",
    "names",
]

ELSEWHERE: Final = {"INSTEP_DATA", "INSTEP_CONFIG", "INSTEP_URL", "INSTEP_KEY_FILE"}
"""Variables that the command line reads itself."""


_TAG: Final = 2
_KINDS: Final = {"expected": " or ".join(f"'{kind}'" for kind in SOURCES)}


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings in force, and the origin of each one that was set."""

    settings: Settings
    origins: Mapping[str, str]
    """`"embedding.max_batch"` to e.g. `"INSTEP_EMBEDDING__MAX_BATCH"` or `"instep.toml:14"`."""


def load(
    *,
    config: Path | None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> LoadedSettings:
    """Read settings from file, environment and options.

    Args:
        config: a TOML file, or None. It must exist when given.
        environ: default: the process's environment.
        options: dotted name to value, from the command line; None values are skipped.

    Raises:
        ConfigurationError: every fault found, one a line.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if config is not None:
        table, lines = read_toml(config)
        for name, value in leaves(table):
            _put(values, origins, name, value, f"{config.name}{line_of(name, lines)}")
    for variable, raw in sorted(environ.items()):
        dotted = _dotted(variable)
        if dotted is not None:
            _put(values, origins, dotted, _from_text(raw), variable)
    for name, value in (options or {}).items():
        if value is not None:
            _put(values, origins, name, value, "the command line")
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        found = [_located(one) for one in error.errors(include_input=False, include_url=False)]
        raise ConfigurationError("\n".join(faults(found, origins, list(names())))) from None
    return LoadedSettings(settings, origins)


def _located(error: Mapping[str, Any]) -> dict[str, Any]:
    """The fault of a source at the place that the file has: pydantic puts the kind between."""
    place, kind = error["loc"], error["type"]
    if kind == "union_tag_invalid":
        return {**error, "loc": (*place, "kind"), "type": "literal_error", "ctx": _KINDS}
    if kind == "union_tag_not_found":
        return {**error, "type": "model_type"}
    if place[:1] != ("sources",) or len(place) <= _TAG or place[_TAG] not in SOURCES:
        return dict(error)
    below = place[_TAG + 1 :]
    having = [name for name, model in SOURCES.items() if {*below} <= model.model_fields.keys()]
    if kind == "extra_forbidden" and len(below) == 1 and having:
        told = f"is of another kind of source: {' or '.join(having)}, not {place[_TAG]}"
        error = {**error, "type": "value_error", "msg": told}
    return {**error, "loc": (*place[:_TAG], *below)}


def names(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """Dotted names of every setting; `sources.NAME.` stands for any source, as of webhooks."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if name == "sources" and not prefix:
            of_each = (names(kind, "sources.NAME.") for kind in SOURCES.values())
            yield from dict.fromkeys(chain.from_iterable(of_each))
            continue
        if name == "webhooks":
            yield from names(Webhook, "webhooks.NAME.")
            continue
        groups = [one for one in (annotation, *get_args(annotation)) if _is_group(one)]
        for group in groups:
            yield from names(group, f"{prefix}{name}.")
        if annotation not in groups:
            yield f"{prefix}{name}"


def _is_group(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _dotted(variable: str) -> str | None:
    if variable in ALIASES:
        return ALIASES[variable]
    if (
        not variable.startswith(PREFIX)
        or variable in ELSEWHERE
        or variable.startswith("INSTEP_TEST_")
    ):
        return None
    parts = variable.removeprefix(PREFIX).lower().split("__")
    if parts[0] in ("sources", "webhooks") and len(parts) > 1:
        parts[1] = parts[1].replace("_", "-")
    return ".".join(parts)


def _from_text(raw: str) -> Any:
    """Lists may be written as in TOML; numbers and booleans are left to pydantic."""
    if raw.startswith("["):
        try:
            return tomllib.loads(f"x = {raw}")["x"]
        except tomllib.TOMLDecodeError:
            return raw
    return raw


def _put(
    values: dict[str, Any], origins: dict[str, str], name: str, value: Any, origin: str
) -> None:
    *groups, last = name.split(".")
    for group in groups:
        values = values.setdefault(group, {})
        if not isinstance(values, dict):
            return
    values[last] = value
    origins[name] = origin


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
    """Lines of keys, for messages: the parser does not report them. Finds plain layouts only."""
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
    """`:14`, the line of the key or of its table; empty when neither was found."""
    while name and name not in lines:
        name = name.rpartition(".")[0]
    return f":{lines[name]}" if name else ""


def leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
