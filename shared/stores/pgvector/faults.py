"""Errors of Postgres and its client, in ours: without addresses, statements and values. Pure."""

from typing import Any, Final

from shared.domain.errors import (
    ConfigurationError,
    InstepError,
    QuestionRefused,
    StoreMismatch,
    StoreUnavailable,
)

NOT_THERE: Final = "42P01"
LOST_RACES: Final = ("40001", "40P01")
_STATES: Final[tuple[tuple[str, type[InstepError], str], ...]] = (
    ("28", ConfigurationError, "does not accept the user or the password: check {url}"),
    ("3D000", ConfigurationError, "has no such database: check {url}"),
    ("42501", ConfigurationError, "denies a right: {rights}"),
    ("42704", ConfigurationError, "has lost the extension vector: CREATE EXTENSION vector"),
    ("42883", ConfigurationError, "has lost the extension vector: CREATE EXTENSION vector"),
    (NOT_THERE, StoreUnavailable, "has lost the table of the index, which is made anew"),
    ("3F000", StoreUnavailable, "has lost the schema of the index"),
    (
        "42",
        StoreMismatch,
        "has a table that instep did not make so: drop it, and it is filled anew",
    ),
    ("25006", StoreUnavailable, "takes no writes: it is a standby, or read-only"),
    ("53100", StoreUnavailable, "has a full disk"),
    ("53300", StoreUnavailable, "has no connection left"),
    ("53", StoreUnavailable, "has no memory left"),
    ("40", StoreUnavailable, "let another writer go first"),
    ("57014", StoreUnavailable, "gave up a statement that took too long"),
    ("57", StoreUnavailable, "is stopping or starting"),
)
"""Beginnings of SQLSTATE, the longer ones first."""
_TEXTS: Final[tuple[tuple[str, type[InstepError], str], ...]] = (
    ("starting up", StoreUnavailable, "is stopping or starting"),
    ("shutting down", StoreUnavailable, "is stopping or starting"),
    ("recovery mode", StoreUnavailable, "is stopping or starting"),
    ("too many clients", StoreUnavailable, "has no connection left"),
    ("connection slots", StoreUnavailable, "has no connection left"),
    ("authentication failed", ConfigurationError, "does not accept the user or the password"),
    ("no password supplied", ConfigurationError, "asks for a password: set {password}"),
    ("pg_hba.conf", ConfigurationError, "admits no such client: look at its pg_hba.conf"),
    ("certificate verify failed", ConfigurationError, "shows a certificate that is not trusted"),
    ("does not match host", ConfigurationError, "shows a certificate of another name"),
    ("root certificate file", ConfigurationError, "cannot be checked: sslrootcert is missing"),
    ("not support SSL", ConfigurationError, "does not encrypt, and sslmode asks for it"),
    ("does not exist", ConfigurationError, "has no such database or user: check {url}"),
    ("refused", StoreUnavailable, "does not listen"),
    ("resolve host", StoreUnavailable, "has a name that cannot be resolved"),
)
"""Parts of errors of connecting, which have no number; the texts themselves may hold anything."""
_NAMES: Final = {
    "url": "store.pgvector.url",
    "password": "store.pgvector.password or store.pgvector.password_file",
    "rights": "the user needs CREATE in its schema, and has to own the tables of instep",
}


def sorted_error(error: BaseException, *, asks: bool = False) -> InstepError:
    """Ours for an error of psycopg.

    Args:
        asks: a question of a person was under way, whose values may be what Postgres refuses.
    """
    state = state_of(error)
    if asks and state.startswith(("22", "54")):
        return QuestionRefused("the vector store cannot take this question")
    for begins, kind, words in _STATES:
        if state.startswith(begins):
            return kind(f"Postgres {words.format(**_NAMES)}")
    if state:
        return StoreUnavailable(f"Postgres answers with error {state}")
    said = str(error)
    for part, kind, words in _TEXTS:
        if part in said:
            return kind(f"Postgres {words.format(**_NAMES)}")
    return StoreUnavailable("Postgres does not answer, or ended the connection")


def state_of(error: BaseException) -> str:
    """SQLSTATE; empty for errors of the connection itself."""
    found: Any = getattr(error, "sqlstate", None)
    return found if isinstance(found, str) else ""
