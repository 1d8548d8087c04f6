"""How a command ends: a status for scripts, one line for people."""

from typing import Final

DONE: Final = 0
NEEDS_YOU: Final = 1
"""Done, but something waits for a person: a failed check, a held removal."""
CHANGE_SOMETHING: Final = 2
"""Nothing was done: arguments or settings must change."""
NOT_REACHABLE: Final = 3
TIMED_OUT: Final = 4
"""`--wait` ended before what it waited for."""
BUG: Final = 70
INTERRUPTED: Final = 130


class Stop(Exception):
    """End the command with one line that says what to do.

    Args:
        line: for a person, without a full stop.
        fix: what to do, where the line does not say it.
        example: lines to copy, such as settings.
    """

    def __init__(
        self, line: str, *, fix: str = "", status: int = CHANGE_SOMETHING, example: str = ""
    ) -> None:
        super().__init__(line)
        self.line, self.fix, self.status, self.example = line, fix, status, example

    @property
    def text(self) -> str:
        return with_fix(self.line, self.fix)


def with_fix(line: str, fix: str) -> str:
    """`LINE. Fix: FIX`; a line that ends as a question, as a suggestion does, gets no full stop."""
    if not fix:
        return line
    return f"{line}{'' if line.endswith('?') else '.'} Fix: {fix}"


def unreachable(line: str, fix: str = "") -> Stop:
    return Stop(line, fix=fix, status=NOT_REACHABLE)
