"""What is wrong with the paths of one source: said once, and shown while it lasts."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Final

from shared.progress import Activity, Progress, SourceHealth

TOLD_AT_ONCE: Final = 20


@dataclass(slots=True)
class Problems:
    progress: Progress
    health: SourceHealth = field(default_factory=SourceHealth)
    _listed_wrong: set[str] = field(default_factory=set)
    """Paths whose problem a listing shows; that they can be read does not end it."""
    _noted: str = ""

    def note(self, text: str) -> None:
        """Say something about the whole source, once."""
        if self._noted != text:
            self._noted = text
            self.progress.say(Activity("notice", "", text))

    def tell(self, path: str, problem: str | None) -> None:
        """Say what is wrong with a file, once; None: nothing is."""
        if path in self._listed_wrong:
            return
        problem = problem and problem.removeprefix(f"{path}: ")
        if problem is None:
            self.health.problems.pop(path, None)
        elif self.health.problems.get(path) != problem:
            self.health.problems[path] = problem
            self.progress.say(Activity("notice", path, problem))

    def tell_of_listing(self, problems: Mapping[str, str], files: Container[str] | None) -> None:
        """Say what a listing shows to be wrong, once each, and of many only some.

        Args:
            files: all files of the source, when all of it was listed: what is neither there nor
                listed as wrong any more is over.
        """
        shown = self.health.problems
        if files is not None:
            self._listed_wrong &= problems.keys()
            for path in [p for p in shown if p not in problems and p not in files]:
                del shown[path]
        new = [path for path in sorted(problems) if shown.get(path) != problems[path]]
        self._listed_wrong |= problems.keys()
        shown |= problems
        for path in new[:TOLD_AT_ONCE]:
            self.progress.say(Activity("notice", path, problems[path]))
        if len(new) > TOLD_AT_ONCE:
            self.note(f"{len(new) - TOLD_AT_ONCE:,} more cannot be taken: instep status")
