"""Messages about invalid values, in place of pydantic's. Pure."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

from shared.domain.ids import (
    DOC_KEY_PATTERN,
    PIECE_PATTERN,
    PREFIX_PATTERN,
    SOURCE_PATTERN,
    SOURCE_RULE,
)

PREFIX: Final = "INSTEP_"
ALIASES: Final = {"EMBEDDING_MODEL": "embedding.model"}
"""Variables without the prefix, and the settings that they set."""

SHOWN: Final = 20
"""Faults that a message lists one by one."""
_LIKE_ENOUGH: Final = 0.6
_RULES: Final = {
    "missing": "is missing",
    "extra_forbidden": "is not a field",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "greater_than": "must be more than {gt}",
    "less_than": "must be less than {lt}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "finite_number": "must be a finite number",
    "int_from_float": "must be a whole number, not a fraction",
    "int_parsing_size": "must be a whole number of fewer digits",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "string_too_short": "must have at least {min_length:,} characters",
    "string_too_long": "must have at most {max_length:,} characters",
    "string_unicode": "must be valid Unicode text",
    "too_short": "must hold at least {min_length:,}",
    "too_long": "must hold at most {max_length:,}",
    "timezone_aware": "must be a time with its offset, as 2026-01-31T12:00:00Z",
    "json_invalid": "is not JSON",
}
"""By the type of the error."""
_FORMS: Final = {
    SOURCE_PATTERN: SOURCE_RULE,
    PIECE_PATTERN: "must be 64 of 0-9 and a-f, the name of a piece",
    PREFIX_PATTERN: "must be 1 to 20 of a-z, 0-9 and _, and not begin with a digit",
    DOC_KEY_PATTERN: "must be 26 of a-z and 2-7, the key of a document",
}
"""By the pattern that a text does not match."""
_KINDS: Final = {
    "string": "must be text",
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "model": "must be an object",
    "dataclass": "must be an object",
    "dict": "must be an object",
    "tuple": "must be a list",
    "list": "must be a list",
    "set": "must be a list",
    "frozen": "must be a list",
    "bytes": "must be bytes",
    "path": "must be a path",
    "url": "must be an address",
    "datetime": "must be a time, as 2026-01-31T12:00:00Z",
    "timezone": "must be a time with its offset, as 2026-01-31T12:00:00Z",
    "union": "must be of a known kind",
}
"""By the first word of that type, which names the expected kind."""
_GIVEN: Final = (
    (str, "text"),
    (bool, "true or false"),
    (int | float, "a number"),
    (list | tuple, "a list"),
    (dict, "an object"),
    (type(None), "null"),
)
_OF_SETTINGS: Final = {
    "model_type": "must be a table of settings",
    "model_attributes_type": "must be a table of settings",
    "dict_type": "must be a table of settings",
}


def said(error: Mapping[str, Any]) -> str:
    """The rule that a value broke, in words that follow the name of its field.

    Args:
        error: one of pydantic's. The message may give the kind or the length of its input, never
            the input itself.
    """
    kind = str(error["type"])
    if kind == "value_error":  # raised by a validator of ours
        return str(error["msg"]).removeprefix("Value error, ")
    limits = error.get("ctx", {})
    if kind == "string_pattern_mismatch":
        return _FORMS.get(limits["pattern"], "does not have the required form")
    if kind == "string_too_short" and limits["min_length"] == 1:
        return "must not be empty"
    if kind in _RULES:
        return _RULES[kind].format(**limits) + _length(error)
    rule = _KINDS.get(kind.partition("_")[0], "is not valid")
    return rule + _instead(error)


def causes(errors: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The faults without those that follow from another: a list lacks what it cannot hold."""
    around = {error["loc"][:depth] for error in errors for depth in range(len(error["loc"]))}
    return [e for e in errors if e["type"] != "too_short" or e["loc"] not in around]


def of_event(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first faults of an event as `field: rule`; no value, and no key of its metadata.

    A fault of the whole event is a sentence of its own.
    """
    rules: dict[str, list[str]] = {}
    for error in causes(errors):
        names = [str(part) for part in error["loc"]]
        known = list(takewhile(lambda name: name != "metadata", names))
        where = ".".join([*known, "metadata"] if len(known) < len(names) else known)
        whole = "the message " if not where and error["type"] != "value_error" else ""
        rules.setdefault(where, []).append(f"{whole}{said(error)}")
    first = list(rules.items())[:3]
    return ", ".join(
        f"{where}: {_any_of(told)}" if where else _any_of(told) for where, told in first
    )


def _any_of(rules: Sequence[str]) -> str:
    """One rule of several: a value of several kinds breaks the rule of each."""
    first, *others = dict.fromkeys(rules)
    return " or ".join([first, *(rule.removeprefix("must be ") for rule in others)])


def _length(error: Mapping[str, Any]) -> str:
    too_long = error["type"] == "string_too_long" and isinstance(error.get("input"), str)
    return f", not {len(error['input']):,}" if too_long else ""


def _instead(error: Mapping[str, Any]) -> str:
    given = next((word for kind, word in _GIVEN if isinstance(error.get("input", ...), kind)), "")
    return f", not {given}" if given else ""


def faults(errors: Sequence[Any], origins: Mapping[str, str], known: Sequence[str]) -> list[str]:
    """One line for each of the first faults, naming where the setting was made, never its value.

    Args:
        errors: those of pydantic.
        origins: dotted names that were set, and where.
        known: dotted names that exist; `sources.NAME.` stands for any source, as of webhooks.
    """
    lines: list[str] = []
    count = 0
    for error in causes(errors):
        path = ".".join(str(part) for part in error["loc"] if part != "[key]")
        if len(lines) == SHOWN and path in origins:
            count += 1
            continue
        group = path.rpartition(".")[0] if error["type"] == "missing" else path
        below = [name for name in origins if name == path or name.startswith(f"{group}.")]
        unknown = error["type"] == "extra_forbidden"
        wrong = below if unknown and below else [path]
        count += len(wrong)
        for name in wrong[: SHOWN - len(lines)]:
            origin = next((origins[n] for n in (name, *below) if n in origins), "")
            is_variable = origin in ALIASES or origin.startswith(PREFIX)
            where = origin if is_variable else f"{origin}: {name}" if origin else name
            if unknown:
                lines.append(f"{where} is not a setting{_hint(name, known, is_variable)}")
            else:
                lines.append(f"{where}: {_OF_SETTINGS.get(error['type']) or said(error)}")
    return [*lines, f"and {count - SHOWN:,} more"] if count > SHOWN else lines


def _hint(name: str, known: Sequence[str], is_variable: bool) -> str:
    """`; did you mean …?`, or nothing when no setting has a similar name."""
    wanted = [name]
    if name.startswith(("sources.", "webhooks.")) and name.count(".") > 1:
        group, given, below = name.split(".", 2)
        known = [other.replace(f"{group}.NAME", f"{group}.{given}") for other in known]
        wanted.append(below)  # perhaps a setting of all sources
    near = [find(text, known) for find in _FINDERS for text in wanted]
    close = next((found for found in near if found), None)
    if close is None:
        return ""
    variable = PREFIX + close.replace("-", "_").replace(".", "__").upper()
    return f"; did you mean {variable if is_variable else close}?"


def _by_parts(name: str, known: Sequence[str]) -> str | None:
    """The setting of the same depth whose least similar part is most similar."""

    def likeness(other: str) -> float:
        pairs = zip(name.split("."), other.split("."), strict=True)
        return min(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs)

    best = max((o for o in known if o.count(".") == name.count(".")), key=likeness, default=None)
    return best if best is not None and likeness(best) >= _LIKE_ENOUGH else None


def _as_whole(name: str, known: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.75)), None)


_FINDERS: Final[tuple[Callable[[str, Sequence[str]], str | None], ...]] = (_by_parts, _as_whole)
