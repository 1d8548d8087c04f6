"""The rules that select the documents among a folder's files. Pure."""

import itertools
import re
from collections.abc import Sequence
from typing import Final

from shared.domain.errors import ConfigurationError
from shared.domain.formats import BY_ENDING, ending

_TEMPORARY = re.compile(
    r"""
      ~$ | ^~\$                   # backups; locks of office programs
    | ^\#.*\#$                    # emacs
    | ^4913$                      # vim tries whether it may write
    | \.(swp|swx|swo|tmp|temp|part|partial|crdownload|bak|lock)$
    | ___jb_(tmp|old)___$         # JetBrains
    | ^Thumbs\.db$ | ^desktop\.ini$
    """,
    re.VERBOSE | re.IGNORECASE,
)


def is_ignored(name: str) -> bool:
    """Hidden, or left by an editor or download on its way to the real name."""
    return name.startswith(".") or _TEMPORARY.search(name) is not None


def glob_to_regex(pattern: str) -> str:
    """A regular expression for whole POSIX paths: `**` crosses folders, `*`, `?` and sets do not.

    Matching takes linear time, because names of files come from outside. A star takes the nearest
    place at which what follows it fits. Wherever the next star can take whatever lies between that
    place and a later one, no later one is tried: the group is atomic.
    """
    start, *segments = _segments(pattern)
    out, chained = [start[1]], False
    for n, (star, fixed) in enumerate(segments):
        after = segments[n + 1][0] if n + 1 < len(segments) else ""
        final = after == "**" or (after == "**/" and fixed.endswith("/"))
        if star != "*" and chained:
            out.append(")")
            chained = False
        one = _LAZY[star] + fixed
        if star != "*" and after == "*":
            # the group ends before the next star that crosses folders, too
            chained = True
            out.append(f"{'(?>' if _ends_well(segments[n + 1 :]) else '(?:'}{one}")
        else:
            out.append(f"(?>{one})" if final or (star == after == "*") else one)
    return "".join(out) + (")" if chained else "")


_LAZY: Final = {"*": "[^/]*?", "**": ".*?", "**/": "(?:.*?/)??"}


def _ends_well(segments: Sequence[tuple[str, str]]) -> bool:
    """Whether the next star that crosses folders can take what a later place would skip."""
    for (_, fixed), (after, _) in itertools.pairwise(segments):
        if after != "*":
            return after == "**" or fixed.endswith("/")
    return False


def _segments(pattern: str) -> list[tuple[str, str]]:
    """The stars of a pattern, the first one "", each with the expression of what follows it."""
    found = [("", "")]
    i = 0
    while i < len(pattern):
        last, fixed = found[-1]
        if star := _star(pattern, i):
            i += len(star)
            if fixed or not last:
                found.append((star, ""))
            elif "**" in (last, star):
                found[-1] = ("**", "")
            elif last != star:
                found.append((star, ""))
            continue
        one, i = _one(pattern, i)
        found[-1] = (last, fixed + one)
    return found


def _star(pattern: str, i: int) -> str:
    return next((star for star in ("**/", "**", "*") if pattern.startswith(star, i)), "")


def _one(pattern: str, i: int) -> tuple[str, int]:
    """The expression of one character of a path, and where the pattern goes on."""
    if pattern[i] == "?":
        return "[^/]", i + 1
    if (end := _set_end(pattern, i)) > 0:
        body = re.sub(r"([\\\[&~|]|(?<=-)-)", r"\\\1", pattern[i + 1 : end])
        return f"(?!/)[{'^' + body[1:] if body[0] == '!' else body}]", end + 1
    return re.escape(pattern[i]), i + 1


def _set_end(pattern: str, start: int) -> int:
    """Index of the bracket that closes a `[set]` opened at `start`, or -1."""
    return pattern.find("]", start + 2) if pattern[start] == "[" else -1


class Rules:
    """Include and exclude globs of a source, on POSIX paths below its root."""

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = _any_of(include)
        self._exclude = _any_of(exclude)
        # "drafts/**" excludes the folder itself too, so it is not even listed
        self._closed = _any_of([*exclude, *(p.removesuffix("/**") for p in exclude)])

    def wants(self, path: str) -> bool:
        """Whether the file is a document; every part of its path counts."""
        if any(is_ignored(part) for part in path.split("/")):
            return False
        return self.wants_in_listed_folder(path)

    def wants_in_listed_folder(self, path: str) -> bool:
        """The same for a file whose folders and name were looked at already."""
        if self._include is None:
            wanted = ending(path) in BY_ENDING
        else:
            wanted = self._include.fullmatch(path) is not None
        return wanted and (self._exclude is None or self._exclude.fullmatch(path) is None)

    def enters(self, path: str) -> bool:
        """Whether a folder (its path below the root) is listed."""
        return self._closed is None or self._closed.fullmatch(path) is None


def _any_of(patterns: Sequence[str]) -> re.Pattern[str] | None:
    if not patterns:
        return None
    try:
        return re.compile("|".join(f"(?:{glob_to_regex(p)})" for p in patterns), re.DOTALL)
    except re.error:
        raise ConfigurationError(f"not a glob: one of {', '.join(patterns)}") from None
