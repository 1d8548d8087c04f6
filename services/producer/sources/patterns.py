"""Patterns as `.gitignore` has them, on POSIX paths. Pure.

Names of files and patterns come from outside, so a match takes linear time in the path, whatever
the pattern: the regular expressions of general libraries for ignore files take polynomial time, of
a degree that the pattern sets.
"""

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

LONGEST: Final = 4096
"""Characters of a pattern; no path is longer."""
_STAR_KINDS: Final = {"*": "[^/]*?", "**": ".*?", "**/": "(?:.*?/)??"}
_CLASSES: Final = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t-\\r",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


class Pattern(NamedTuple):
    """One line of an ignore file, or one pattern of the settings."""

    text: str
    """As it was written."""
    line: int
    negated: bool
    """It takes back what an earlier pattern says."""
    folder_only: bool
    of_name: bool
    """It is about the last part of a path, at any depth, else about the whole path."""
    literal: str | None
    """The only name, or path, that it matches, where there is just one."""
    suffix: str | None
    """The end of all names that it matches, where it is a star and an end."""
    regex: str


class _Never(Exception):
    """The pattern matches nothing, as git has it."""


def parse(text: str, line: int = 0, *, lenient: bool = False) -> Pattern | None:
    """The pattern of a line; None where the line has none, or one that can match nothing.

    Args:
        lenient: `**` crosses folders also where it is a part of a name, as in `docs/**.md`.
    """
    if len(text) > LONGEST:
        return None
    body = _without_end(unicodedata.normalize("NFC", text))
    if body.startswith("#"):
        return None
    negated = body.startswith("!")
    body = body.removeprefix("!") if negated else body
    folder_only = body.endswith("/")
    body = body.removesuffix("/") if folder_only else body
    crossing = lenient and re.search(r"[^/]\*\*|\*\*[^/]", body) is not None
    of_name = "/" not in body and not crossing
    body = body.removeprefix("/")
    if not body:
        return None
    try:
        tokens = list(_tokens(body, crossing=lenient))
    except _Never:
        return None
    literal = _plain(tokens)
    suffix = _plain(tokens[1:]) if of_name and tokens[0].star == "*" else None
    regex = _assemble((star, text) for star, text, _ in tokens)
    return Pattern(text.strip(), line, negated, folder_only, of_name, literal, suffix, regex)


def _without_end(text: str) -> str:
    """A line without its end, and without spaces at the end that no backslash keeps."""
    text = text.removesuffix("\n").removesuffix("\r")
    kept = text.rstrip(" ")
    backslashes = len(kept) - len(kept.rstrip("\\"))
    return f"{kept} " if backslashes % 2 and kept != text else kept


class _Token(NamedTuple):
    star: str
    """`*`, `**` or `**/`; empty for one character."""
    regex: str
    char: str
    """The only character that it stands for, if there is one."""


def _plain(tokens: Sequence[_Token]) -> str | None:
    """The only text that the tokens match, if there is one."""
    return "".join(one.char for one in tokens) if all(one.char for one in tokens) else None


def _tokens(body: str, *, crossing: bool) -> Iterator[_Token]:
    i = 0
    while i < len(body):
        char = body[i]
        if char == "*":
            star, i = _star(body, i, crossing=crossing)
            yield _Token(star, "", "")
        elif char == "?":
            yield _Token("", "[^/]", "")
            i += 1
        elif char == "[":
            regex, i = _set(body, i + 1)
            yield _Token("", regex, "")
        else:
            i += char == "\\"
            if i == len(body):
                raise _Never
            yield _Token("", re.escape(body[i]), body[i])
            i += 1


def _star(body: str, i: int, *, crossing: bool) -> tuple[str, int]:
    end = i
    while end < len(body) and body[end] == "*":
        end += 1
    starts, ends = i == 0 or body[i - 1] == "/", end == len(body)
    if end - i == 1:
        return "*", end
    if starts and body.startswith("/", end):
        return "**/", end + 1
    return ("**", end) if crossing or (starts and ends) else ("*", end)


def _set(body: str, i: int) -> tuple[str, int]:
    """The expression of a `[set]` whose first character is at `i`, and the place after it."""
    negated = body[i : i + 1] in ("!", "^")
    i += negated
    parts, first = list[str](), True
    while first or body[i : i + 1] != "]":
        first = False
        if body.startswith("[:", i):
            end = body.find(":]", i)
            if end < 0 or body[i + 2 : end] not in _CLASSES:
                raise _Never
            parts.append(_CLASSES[body[i + 2 : end]])
            i = end + 2
            continue
        low, i = _member(body, i)
        if body[i : i + 1] == "-" and body[i + 1 : i + 2] not in ("", "]"):
            high, i = _member(body, i + 1)
            # of a range that ends before its beginning, git takes the beginning
            parts.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else re.escape(low))
        else:
            parts.append(re.escape(low))
    inner = "".join(parts)
    if not inner:
        return ("[^/]" if negated else "(?!)"), i + 1
    return f"(?!/)[{'^' if negated else ''}{inner}]", i + 1


def _member(body: str, i: int) -> tuple[str, int]:
    i += body[i : i + 1] == "\\"
    if i >= len(body):
        raise _Never
    return body[i], i + 1


def _assemble(tokens: Iterable[tuple[str, str]]) -> str:
    """A regular expression for whole paths.

    A star takes the nearest place at which what follows it fits. Wherever the next star can take
    whatever lies between that place and a later one, no later one is tried: the group is atomic.
    """
    start, *segments = _segments(tokens)
    out, chained = [start[1]], False
    for n, (star, fixed) in enumerate(segments):
        after = segments[n + 1][0] if n + 1 < len(segments) else ""
        final = after == "**" or (after == "**/" and fixed.endswith("/"))
        if star != "*" and chained:
            out.append(")")
            chained = False
        one = _STAR_KINDS[star] + fixed
        if star != "*" and after == "*":
            # the group ends before the next star that crosses folders, too
            chained = True
            out.append(f"{'(?>' if _ends_well(segments[n + 1 :]) else '(?:'}{one}")
        else:
            out.append(f"(?>{one})" if final or (star == after == "*") else one)
    return "".join(out) + (")" if chained else "")


def _ends_well(segments: Sequence[tuple[str, str]]) -> bool:
    """Whether the next star that crosses folders can take what a later place would skip."""
    for (_, fixed), (after, _) in itertools.pairwise(segments):
        if after != "*":
            return after == "**" or fixed.endswith("/")
    return False


def _segments(tokens: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The stars of a pattern, the first one "", each with the expression of what follows it."""
    found = [("", "")]
    for star, text in tokens:
        last, fixed = found[-1]
        if not star:
            found[-1] = (last, fixed + text)
        elif fixed or not last:
            found.append((star, ""))
        elif "**" in (last, star):
            found[-1] = ("**", "")
        elif last != star:
            found.append((star, ""))
    return found


class Patterns:
    """Patterns in their order: the last one that matches decides.

    Args:
        origin: the name of their file; empty for the settings.
        base: the folder whose paths they are about; empty for the root.
    """

    def __init__(self, patterns: Sequence[Pattern], *, origin: str = "", base: str = "") -> None:
        self.origin, self.base = origin, base
        self._cut = len(base) + 1 if base else 0
        self._patterns = tuple(patterns)
        self._last_first = [(one, _compiled(one)) for one in reversed(self._patterns)]
        names = [one for one in patterns if one.of_name]
        paths = [one for one in patterns if not one.of_name]
        self._of_folders = _any_of(names), _any_of(paths)
        self._of_files = (
            _any_of([one for one in names if not one.folder_only]),
            _any_of([one for one in paths if not one.folder_only]),
        )

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def __iter__(self) -> Iterator[Pattern]:
        return iter(self._patterns)

    def decide(self, path: str, *, folder: bool) -> Pattern | None:
        """The pattern that decides about this very file or folder, not about those around it.

        Args:
            path: below the root.
        """
        relative = path[self._cut :]
        name = relative[relative.rfind("/") + 1 :]
        names, paths = self._of_folders if folder else self._of_files
        if not (names(name) or paths(relative)):
            return None
        for pattern, match in self._last_first:
            if pattern.folder_only and not folder:
                continue
            if match.fullmatch(name if pattern.of_name else relative):
                return pattern
        return None

    def matching(self, path: str, *, folder: bool) -> Iterator[Pattern]:
        """All that match this very file or folder."""
        name = path[path.rfind("/") + 1 :]
        for pattern, match in self._last_first:
            if (folder or not pattern.folder_only) and match.fullmatch(
                name if pattern.of_name else path
            ):
                yield pattern


def _any_of(patterns: Sequence[Pattern]) -> Callable[[str], object]:
    """Whether one of the patterns can match a text: one look for all of them."""
    literals = frozenset(one.literal for one in patterns if one.literal is not None)
    suffixes = tuple({one.suffix for one in patterns if one.suffix is not None})
    others = dict.fromkeys(p.regex for p in patterns if p.literal is None and p.suffix is None)
    if not others:
        if not suffixes:
            return literals.__contains__
        return lambda text: text in literals or text.endswith(suffixes)
    match = re.compile("|".join(f"(?:{regex})" for regex in others), re.DOTALL).fullmatch
    return lambda text: text in literals or text.endswith(suffixes) or match(text)


class _Literal:
    """In place of an expression, which takes longer to compile than to match."""

    def __init__(self, text: str) -> None:
        self._text = text

    def fullmatch(self, text: str) -> bool:
        return text == self._text


def _compiled(pattern: Pattern) -> "re.Pattern[str] | _Literal":
    if pattern.literal is not None:
        return _Literal(pattern.literal)
    return re.compile(pattern.regex, re.DOTALL)


def parse_lines(text: str) -> list[Pattern]:
    """The patterns of an ignore file."""
    lines = text.removeprefix("\ufeff").split("\n")
    parsed = (parse(line, number) for number, line in enumerate(lines, 1))
    return [one for one in parsed if one is not None]
