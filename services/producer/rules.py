"""Which files of a folder are documents. Pure."""

import re
from collections.abc import Sequence

from shared.errors import ConfigurationError
from shared.formats import BY_ENDING, ending

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
    """A regular expression for whole POSIX paths: `**` crosses folders, `*` and `?` do not."""
    out, i = [], 0
    while i < len(pattern):
        if pattern.startswith("**/", i):
            out.append("(?:.*/)?")
            i += 3
        elif pattern.startswith("**", i):
            out.append(".*")
            i += 2
        elif pattern[i] == "*":
            out.append("[^/]*")
            i += 1
        elif pattern[i] == "?":
            out.append("[^/]")
            i += 1
        elif (end := _set_end(pattern, i)) > 0:
            body = re.sub(r"([\\\[&~|])", r"\\\1", pattern[i + 1 : end])
            out.append(f"[{'^' + body[1:] if body[0] == '!' else body}]")
            i = end + 1
        else:
            out.append(re.escape(pattern[i]))
            i += 1
    return "".join(out)


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
