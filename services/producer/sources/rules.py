"""The rules that select the documents among a folder's files. Pure."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from services.producer.sources.patterns import Pattern, Patterns, parse
from shared.domain.errors import ConfigurationError
from shared.domain.formats import BY_DEFAULT, BY_ENDING, EXCLUDED, HIDDEN, IGNORED, ending, kind_of

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


class LeftOut(NamedTuple):
    """The rule that leaves a file or folder out."""

    kind: str
    """Under which it is counted: an ending, or one of the reasons of `shared.domain.formats`."""
    why: str
    """In words for people."""
    fix: str = ""
    """What a person can do to have it read; empty where nothing helps."""


LEFT_OUT_BY_DEFAULT: Final = (
    "node_modules/",
    "bower_components/",
    "__pycache__/",
    "*.min.js",
    "*.min.css",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "instep.toml",
)
"""What package managers and build tools write, under names that nothing else has, and instep's own
settings. `build`, `dist` and `target` may hold documents."""
MARKS: Final = {"pyvenv.cfg": "a virtual environment of Python", "CACHEDIR.TAG": "a cache"}
"""Files that say of their folder that programs wrote it, and that it can be made again."""
_DEFAULT_ENDINGS: Final = frozenset(map(ending, LEFT_OUT_BY_DEFAULT)) - {""}
_FOLDERS: Final = frozenset(one[:-1] for one in LEFT_OUT_BY_DEFAULT if one.endswith("/"))


Chain = tuple[Patterns, ...]
"""The ignore files that are about a folder; the first one with an answer decides."""


class Rules:
    """Include and exclude patterns of a source, and the defaults, on paths below its root.

    Raises:
        ConfigurationError: a pattern can match nothing.
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        chosen = [_of_settings(text, n) for n, text in enumerate(include)]
        self._exclude = Patterns([_of_settings(text) for text in exclude])
        # "drafts/**" excludes the folder itself too, so it is not even listed
        inside = (text.removesuffix("/**") for text in exclude if text.endswith("/**"))
        self._closed = Patterns([_of_settings(f"{text}/") for text in inside if text])
        self._named = {part for one in chosen for part in one.text.strip("/").split("/")}
        # the name of a folder that is left out by default brings it back, and selects nothing
        self._include = Patterns([one for one in chosen if one.text.strip("*/") not in _FOLDERS])
        defaults = [one for one in LEFT_OUT_BY_DEFAULT if one.rstrip("/") not in self._named]
        self._defaults = Patterns([_of_settings(text) for text in defaults])
        # asked for every file: a question to an object costs more than the answer
        self._excludes, self._includes = bool(self._exclude), bool(self._include)
        self._unused = {one.text for one in (*self._include, *self._exclude)}
        self._last_folder: tuple[str, Pattern | None] = ("", None)

    @property
    def selects(self) -> bool:
        """Whether patterns of include decide, and not the known endings."""
        return self._includes

    @property
    def unused(self) -> list[str]:
        """Patterns of the settings that have matched nothing so far."""
        return sorted(self._unused)

    def is_by_name(self, path: str) -> bool:
        """Whether a file in a folder is included for its name alone, as `*.md` does at any depth;
        the first versions of instep looked for such a name in the root only."""
        if not self._includes or "/" not in path:
            return False
        found = list(self._include.matching(path, folder=False))
        return bool(found) and all(one.of_name for one in found)

    def why_not_file(self, path: str, chain: Chain) -> LeftOut | None:
        """The rule that leaves a file out of its folder, which is listed; None: it is a document.

        Args:
            chain: of its folder.
        """
        if self._excludes and (found := self._excluded(path, folder=False)):
            return found
        end = ending(path)
        if self._includes:
            if not self._is_included(path):
                fix = "add a pattern for it to include"
                return LeftOut(kind_of(path), "no pattern of include matches it", fix)
        elif end not in BY_ENDING:
            return not_read(path)
        if not chain and end not in _DEFAULT_ENDINGS:
            return None
        return self._ignored(path, chain, folder=False)

    def why_not_folder(self, path: str, chain: Chain) -> LeftOut | None:
        """The rule for which a folder is not listed; None: it is.

        Args:
            chain: of the folder around it.
        """
        return self._excluded(path, folder=True) or self._ignored(path, chain, folder=True)

    def why_not_marked(self, path: str, mark: str) -> LeftOut | None:
        """The same for a folder that holds a file of this name, one of MARKS."""
        if path[path.rfind("/") + 1 :] in self._named:
            return None
        fix = "name the folder in include, beside everything else that is to be read"
        return LeftOut(BY_DEFAULT, f"by default: {mark} marks {MARKS[mark]}", fix)

    def why_not(self, path: str) -> LeftOut | None:
        """The rule that leaves out a path, by the settings and defaults alone."""
        folder, _, name = path.rpartition("/")
        if why := self.why_not_below(folder):
            return why
        return hidden(name) if is_ignored(name) else self.why_not_file(path, ())

    def why_not_below(self, folder: str) -> LeftOut | None:
        """The rule that leaves out a folder, or one around it, by the same."""
        parts = folder.split("/") if folder else []
        for n, name in enumerate(parts, 1):
            if is_ignored(name):
                return hidden(name)
            if why := self.why_not_folder("/".join(parts[:n]), ()):
                return why
        return None

    def excludes(self, path: str) -> LeftOut | None:
        """The pattern of `exclude` that leaves out a file; no other rule counts."""
        return self._excluded(path, folder=False) if self._excludes else None

    def _excluded(self, path: str, *, folder: bool) -> LeftOut | None:
        pattern = self._exclude.decide(path, folder=folder)
        if pattern is None and folder:
            pattern = self._closed.decide(path, folder=True)
        if pattern is None or pattern.negated:
            return None
        self._note(self._exclude, path, folder=folder)
        self._unused.discard(f"{pattern.text}**")
        why = f"excluded by the pattern {pattern.text}"
        return LeftOut(EXCLUDED, why, "take the pattern out of exclude")

    def _is_included(self, path: str) -> bool:
        """The last pattern decides that matches the file, or a folder around it."""
        pattern = self._include.decide(path, folder=False)
        if pattern is not None:
            self._note(self._include, path, folder=False)
        around = self._of_folder(path[: max(0, path.rfind("/"))])
        if pattern is None or (around is not None and around.line > pattern.line):
            pattern = around
        return pattern is not None and not pattern.negated

    def _of_folder(self, folder: str) -> Pattern | None:
        """The last pattern that matches a folder, or one around it."""
        known, last = self._last_folder  # files of one folder come one after the other
        if known == folder:
            return last
        last, path = None, folder
        while path:
            pattern = self._include.decide(path, folder=True)
            if pattern is not None:
                self._note(self._include, path, folder=True)
                last = pattern if last is None or pattern.line > last.line else last
            path = path[: max(0, path.rfind("/"))]
        self._last_folder = folder, last
        return last

    def _note(self, patterns: Patterns, path: str, *, folder: bool) -> None:
        if self._unused:
            self._unused.difference_update(
                one.text for one in patterns.matching(path, folder=folder)
            )

    def _ignored(self, path: str, chain: Chain, *, folder: bool) -> LeftOut | None:
        """By the ignore files, `.instepignore` first; what they do not name, by default."""
        for patterns in chain:
            pattern = patterns.decide(path, folder=folder)
            if pattern is not None:
                return None if pattern.negated else _by(patterns, pattern)
        if not folder and ending(path) not in _DEFAULT_ENDINGS:
            return None
        pattern = self._defaults.decide(path, folder=folder)
        if pattern is None:
            return None
        fix = f"write !{pattern.text} into .instepignore"
        return LeftOut(BY_DEFAULT, f"by default: {pattern.text}", fix)


def _by(patterns: Patterns, pattern: Pattern) -> LeftOut:
    where = f"{patterns.base}/{patterns.origin}" if patterns.base else patterns.origin
    why = f"ignored by line {pattern.line} of {where}: {pattern.text}"
    beside = f"{patterns.base}/.instepignore" if patterns.base else ".instepignore"
    fix = f"take the line out, or write !{pattern.text} into {beside}"
    return LeftOut(f"{IGNORED}{patterns.origin}", why, fix)


def not_read(path: str) -> LeftOut:
    """Of a file without an ending that is read, by the name of the file."""
    end = ending(path)
    why = f"its ending {end} is not read" if end else "its name has no ending"
    fix = (
        "save it in a format that is read; if it is text, name it in include, beside everything "
        "else that is to be read"
    )
    return LeftOut(kind_of(path), why, fix)


def hidden(name: str) -> LeftOut:
    """Of a name that `is_ignored`."""
    if name.startswith("."):
        why, fix = "is hidden, as its name begins with a dot", "give it a name without the dot"
    else:
        why, fix = "has the name of a temporary or a lock file", "give it another name"
    return LeftOut(HIDDEN, f"{name} {why}", fix)


def _of_settings(text: str, number: int = 0) -> Pattern:
    pattern = parse(text, number, lenient=True)
    if pattern is None:
        raise ConfigurationError(f"{text!r} is a pattern that can match nothing")
    return pattern
