"""What people are told about settings that cannot be taken. Pure."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

PREFIX: Final = "INSTEP_"
ALIASES: Final = {"EMBEDDING_MODEL": "embedding.model"}
"""Variables without the prefix, and what they set."""

SHOWN: Final = 20
"""Faults that are told one by one."""
_LIKE_ENOUGH: Final = 0.6
_PLAIN: Final = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "a name has 1 to 40 of a-z, 0-9 and '-', and starts with no '-'",
}
_KINDS: Final = {
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "model": "must be a table of settings",
    "dict": "must be a table of settings",
    "tuple": "must be a list",
}


def faults(errors: Sequence[Any], origins: Mapping[str, str], known: Sequence[str]) -> list[str]:
    """One line for each of the first faults, naming where the setting was made, never its value.

    Args:
        errors: those of pydantic.
        origins: dotted names that were set, and where.
        known: dotted names that exist; `sources.NAME.` stands for any source.
    """
    lines: list[str] = []
    count = 0
    for error in errors:
        path = ".".join(str(part) for part in error["loc"] if part != "[key]")
        if len(lines) == SHOWN and path in origins:
            count += 1
            continue
        below = [name for name in origins if name == path or name.startswith(f"{path}.")]
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
                lines.append(f"{where}: {_said(error)}")
    return [*lines, f"and {count - SHOWN:,} more"] if count > SHOWN else lines


def _said(error: Any) -> str:
    """What a value must be, in words for people."""
    kind = error["type"]
    if kind in _PLAIN:
        return _PLAIN[kind].format(**error.get("ctx", {}))
    return _KINDS.get(kind.split("_")[0]) or str(error["msg"]).removeprefix("Value error, ")


def _hint(name: str, known: Sequence[str], is_variable: bool) -> str:
    """`; did you mean …?`, or nothing when no setting has a similar name."""
    wanted = [name]
    if name.startswith("sources.") and name.count(".") > 1:
        source, below = name.split(".", 2)[1:]
        known = [other.replace("NAME", source) for other in known]
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
