"""Errors of Postgres in words: what may pass, what a person has to do, and never a secret."""

import pytest

from shared.domain.errors import (
    ConfigurationError,
    QuestionRefused,
    StoreMismatch,
    StoreUnavailable,
)
from shared.stores.pgvector.faults import sorted_error

SECRET = "hunter2"


class Told(Exception):
    def __init__(self, state, text=""):
        super().__init__(f"{text} {SECRET}")
        self.sqlstate = state


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        ("28P01", ConfigurationError, "store.pgvector.url"),
        ("3D000", ConfigurationError, "store.pgvector.url"),
        ("42501", ConfigurationError, "CREATE"),
        ("42704", ConfigurationError, "CREATE EXTENSION vector"),
        ("42P01", StoreUnavailable, "made anew"),
        ("42703", StoreMismatch, "drop it"),
        ("25006", StoreUnavailable, "standby"),
        ("53100", StoreUnavailable, "full disk"),
        ("53300", StoreUnavailable, "no connection"),
        ("40P01", StoreUnavailable, "another writer"),
        ("57P01", StoreUnavailable, "stopping"),
        ("57014", StoreUnavailable, "too long"),
        ("XX000", StoreUnavailable, "XX000"),
        ("22021", StoreUnavailable, "22021"),
    ],
)
def test_an_error_of_a_statement(state, kind, words):
    found = sorted_error(Told(state))

    assert type(found) is kind
    assert words in str(found)
    assert SECRET not in str(found)


@pytest.mark.parametrize("state", ["22021", "54000"])
def test_a_value_that_postgres_refuses_is_one_of_the_question(state):
    assert type(sorted_error(Told(state), asks=True)) is QuestionRefused


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('FATAL: password authentication failed for user "x"', ConfigurationError),
        ('FATAL: database "x" does not exist', ConfigurationError),
        ('FATAL: no pg_hba.conf entry for host "x"', ConfigurationError),
        ("fe_sendauth: no password supplied", ConfigurationError),
        ("server does not support SSL, but SSL was required", ConfigurationError),
        ("SSL error: certificate verify failed", ConfigurationError),
        ("FATAL: the database system is starting up", StoreUnavailable),
        ("FATAL: sorry, too many clients already", StoreUnavailable),
        ("Connection refused", StoreUnavailable),
        ("failed to resolve host 'x'", StoreUnavailable),
        ("server closed the connection unexpectedly", StoreUnavailable),
    ],
)
def test_an_error_of_connecting(text, kind):
    found = sorted_error(Told(None, text))

    assert type(found) is kind
    assert SECRET not in str(found)
