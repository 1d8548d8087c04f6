"""Errors of SQLite in ours: without paths, statements and values. Pure."""

import sqlite3
from typing import Final

from shared.domain.errors import InstepError, QuestionRefused, StoreUnavailable

DAMAGED: Final = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB"})
_REFUSED: Final = frozenset({"SQLITE_TOOBIG", "SQLITE_RANGE", "SQLITE_NOMEM", "SQLITE_ERROR"})
_SAID: Final = (
    ("SQLITE_FULL", "has no room on its disk"),
    ("SQLITE_BUSY", "is being written by another process for too long"),
    ("SQLITE_LOCKED", "is being written by another process for too long"),
    ("SQLITE_READONLY", "may not be written: check the rights of its folder"),
    ("SQLITE_PERM", "may not be written: check the rights of its folder"),
    ("SQLITE_CANTOPEN", "cannot be opened: check the rights of its folder"),
    ("SQLITE_IOERR", "cannot be read or written: check its disk"),
    ("SQLITE_CORRUPT", "is damaged; it is put aside and filled anew within seconds"),
    ("SQLITE_NOTADB", "is damaged; it is put aside and filled anew within seconds"),
)
"""Beginnings of the names of SQLite's codes."""


def sorted_error(error: BaseException, *, asks: bool = False) -> InstepError:
    """Ours for an error of sqlite3, whose text may hold a part of a statement.

    Args:
        asks: a question of a person was under way, whose values may be what SQLite refuses.
    """
    name = name_of(error)
    if asks and (name in _REFUSED or isinstance(error, UnicodeError | OverflowError)):
        return QuestionRefused("the vector store cannot take this question")
    for begins, words in _SAID:
        if name.startswith(begins):
            return StoreUnavailable(f"the file of the index {words}")
    return StoreUnavailable(f"the file of the index cannot be used ({name})")


def is_damage(error: BaseException) -> bool:
    """Whether the file itself is at fault, and no try will read it."""
    return any(name_of(error).startswith(begins) for begins in DAMAGED)


def is_unreadable(error: BaseException) -> bool:
    """Whether a file of instep's lacks what it was made with, or is damaged."""
    return is_damage(error) or name_of(error) == "SQLITE_ERROR"


def name_of(error: BaseException) -> str:
    """SQLite's name of the error, or its class for one of Python's."""
    found = getattr(error, "sqlite_errorname", None)
    return found if isinstance(found, str) else type(error).__name__


ERRORS: Final = (sqlite3.Error, OSError, UnicodeError, OverflowError)
"""What a call of sqlite3 and of the folder raises."""
