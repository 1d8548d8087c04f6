"""What becomes of a delivery."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.delivery.outcome import Ack, Bury, Retry, Tried, backoff_s, one_line, poison, settle
from shared.domain import errors
from shared.domain.errors import (
    DocumentRefused,
    InstepError,
    MalformedEvent,
    NotYetIndexed,
    PermanentError,
    TransientError,
)

ONCE = Tried(failures=1)

attempts = st.none() | st.integers(1, 20)
patience = st.none() | st.floats(0, 1e5)
tries = st.builds(
    Tried,
    polls=st.integers(0, 10_000),
    polled_s=st.floats(0, 1e6),
    failures=st.integers(0, 10_000),
    failing_s=st.floats(0, 1e6),
)
transient = st.sampled_from(
    [kind for kind in vars(errors).values() if isinstance(kind, type)]
).filter(lambda kind: issubclass(kind, TransientError))
not_a_poll = transient.filter(lambda kind: kind is not NotYetIndexed)
permanent = st.sampled_from(
    [kind for kind in vars(errors).values() if isinstance(kind, type)]
).filter(lambda kind: issubclass(kind, PermanentError))


@given(tries, attempts, patience)
def test_a_handler_that_returned_is_acknowledged_whatever_happened_before(tried, most, limit):
    assert settle(None, tried, attempts=most, patience_s=limit) == Ack()


@given(permanent, tries, attempts, patience)
def test_what_no_retry_can_help_is_buried_at_once(kind, tried, most, limit):
    assert isinstance(settle(kind("x"), tried, attempts=most, patience_s=limit), Bury)


@given(st.integers(1, 10_000), st.integers(1, 20))
def test_a_poll_never_counts_as_an_attempt(n, most):
    tried = Tried(polls=n, polled_s=1)
    verdict = settle(NotYetIndexed("not yet"), tried, attempts=most, patience_s=60)

    assert isinstance(verdict, Retry)


@given(not_a_poll, st.integers(3, 10_000), st.floats(60, 1e6))
def test_without_attempts_only_time_ends_an_error(kind, failures, failing_s):
    young = settle(kind("x"), Tried(failures=failures, failing_s=59), attempts=None, patience_s=60)
    old = settle(
        kind("x"), Tried(failures=failures, failing_s=failing_s), attempts=None, patience_s=60
    )

    assert isinstance(young, Retry)
    assert isinstance(old, Bury)
    assert old.code == "exhausted"


@given(not_a_poll, tries)
def test_without_attempts_and_patience_nothing_is_given_up(kind, tried):
    verdict = settle(kind("x"), tried, attempts=None, patience_s=None)

    assert isinstance(verdict, Retry)


def test_a_message_is_polled_for_more_than_once_however_short_the_patience_is():
    verdicts = [
        settle(NotYetIndexed("x"), Tried(polls=n, polled_s=9.0), attempts=None, patience_s=1)
        for n in (1, 2, 3)
    ]

    assert [type(verdict) for verdict in verdicts] == [Retry, Retry, Bury]


@given(st.integers(1, 20), st.integers(1, 10_000))
def test_a_fault_of_our_own_ends_after_its_attempts_however_often_it_was_polled_for(most, others):
    verdicts = [
        settle(KeyError("x"), Tried(others, 1e6, n), attempts=most, patience_s=None)
        for n in range(1, most + 1)
    ]

    assert all(isinstance(verdict, Retry) for verdict in verdicts[:-1])
    assert isinstance(verdicts[-1], Bury)
    assert verdicts[-1].code == "exhausted"


@given(not_a_poll, st.integers(1, 29))
def test_a_clock_that_jumps_by_days_ends_no_patience(kind, failures):
    jumped = Tried(failures=failures, failing_s=3 * 86_400)

    assert isinstance(settle(kind("x"), jumped, attempts=None, patience_s=3600), Retry)


@given(not_a_poll, st.integers(8, 10_000))
def test_a_device_or_store_that_is_away_for_minutes_costs_no_document(kind, failures):
    minutes = settle(
        kind("x"), Tried(failures=failures, failing_s=899), attempts=5, patience_s=None
    )
    longer = settle(kind("x"), Tried(failures=failures, failing_s=900), attempts=5, patience_s=None)

    assert isinstance(minutes, Retry)
    assert isinstance(longer, Bury)


@given(st.integers(0, 100))
def test_a_message_that_was_opened_five_times_without_an_outcome_is_buried_unopened(killed):
    verdict = poison(killed)

    assert (verdict is not None) == (killed >= 5)
    assert verdict is None or verdict.code == "poison"


@given(st.integers(1, 9_999))
def test_retries_come_later_and_later_but_never_later_than_a_minute(n):
    assert 0 < backoff_s(n) <= backoff_s(n + 1) <= 60


def test_an_adapter_may_say_itself_when_to_try_again():
    verdict = settle(TransientError("x", after_s=7.5), ONCE, attempts=5, patience_s=None)

    assert verdict == Retry(7.5)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MalformedEvent("x"), "malformed_event"),
        (DocumentRefused("empty", "x"), "empty"),
        (PermanentError("x"), "permanent_error"),
    ],
)
def test_codes_are_stable(error, code):
    verdict = settle(error, ONCE, attempts=5, patience_s=None)

    assert isinstance(verdict, Bury)
    assert verdict.code == code


@given(st.text(min_size=1))
def test_the_text_of_a_foreign_error_is_never_repeated(secret):
    shown = one_line(ValueError(secret))

    assert shown == "ValueError"


@given(st.text(max_size=2000))
def test_a_reason_is_one_line_of_at_most_200_characters(text):
    shown = one_line(InstepError(text))

    assert len(shown) <= 200
    assert len(shown.splitlines()) == 1
