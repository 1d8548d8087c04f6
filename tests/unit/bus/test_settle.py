"""What becomes of a delivery."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import errors
from shared.bus.settle import Ack, Bury, Retry, backoff_s, before, one_line, settle
from shared.errors import (
    DocumentRefused,
    InstepError,
    MalformedEvent,
    NotSearchableInTime,
    NotYetIndexed,
    PermanentError,
    TransientError,
)

deliveries = st.integers(1, 10_000)
ages = st.floats(0, 1e6)
attempts = st.none() | st.integers(1, 20)
patience = st.none() | st.floats(1, 1e5)
transient = st.sampled_from(
    [kind for kind in vars(errors).values() if isinstance(kind, type)]
).filter(lambda kind: issubclass(kind, TransientError))
permanent = st.sampled_from(
    [kind for kind in vars(errors).values() if isinstance(kind, type)]
).filter(lambda kind: issubclass(kind, PermanentError))


@given(deliveries, attempts, ages, patience)
def test_a_handler_that_returned_is_acknowledged_whatever_happened_before(n, most, age, limit):
    verdict = settle(None, delivery=n, attempts=most, age_s=age, patience_s=limit)

    assert verdict == Ack()


@given(permanent, deliveries, attempts, ages, patience)
def test_what_no_retry_can_help_is_buried_at_once(kind, n, most, age, limit):
    verdict = settle(kind("x"), delivery=n, attempts=most, age_s=age, patience_s=limit)

    assert isinstance(verdict, Bury)


@given(st.integers(1, 10_000), st.integers(1, 20))
def test_a_poll_never_counts_as_an_attempt(n, most):
    verdict = settle(NotYetIndexed("not yet"), delivery=n, attempts=most, age_s=1, patience_s=60)

    assert isinstance(verdict, Retry)


@given(transient, deliveries, st.floats(60, 1e6))
def test_without_attempts_only_age_ends_a_transient_error(kind, n, age):
    young = settle(kind("x"), delivery=n, attempts=None, age_s=59, patience_s=60)
    old = settle(kind("x"), delivery=n + 2, attempts=None, age_s=age, patience_s=60)

    assert isinstance(young, Retry)
    assert isinstance(old, Bury)
    assert old.code == "not_searchable"


def test_a_message_that_waited_long_in_the_queue_is_still_tried_more_than_once():
    verdicts = [
        settle(NotYetIndexed("x"), delivery=n, attempts=None, age_s=9999, patience_s=60)
        for n in (1, 2, 3)
    ]

    assert [type(verdict) for verdict in verdicts] == [Retry, Retry, Bury]


@given(transient.filter(lambda kind: kind is not NotYetIndexed), st.integers(1, 20))
def test_the_last_attempt_ends_in_the_dead_letters(kind, most):
    verdicts = [settle(kind("x"), delivery=n, attempts=most) for n in range(1, most + 1)]

    assert all(isinstance(verdict, Retry) for verdict in verdicts[:-1])
    assert isinstance(verdicts[-1], Bury)
    assert verdicts[-1].code == "exhausted"


@given(deliveries, st.integers(1, 20))
def test_a_message_that_outlives_its_attempts_is_buried_unopened(n, most):
    verdict = before(delivery=n, attempts=most)

    assert (verdict is not None) == (n > most)
    assert verdict is None or verdict.code == "poison"


@given(deliveries)
def test_a_stage_without_attempts_opens_every_delivery(n):
    assert before(delivery=n, attempts=None) is None


@given(st.integers(1, 9_999))
def test_retries_come_later_and_later_but_never_later_than_a_minute(n):
    assert 0 < backoff_s(n) <= backoff_s(n + 1) <= 60


def test_an_adapter_may_say_itself_when_to_try_again():
    verdict = settle(TransientError("x", after_s=7.5), delivery=1, attempts=5)

    assert verdict == Retry(7.5)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MalformedEvent("x"), "malformed_event"),
        (NotSearchableInTime("x"), "not_searchable"),
        (DocumentRefused("empty", "x"), "empty"),
        (PermanentError("x"), "permanent_error"),
    ],
)
def test_codes_are_stable(error, code):
    verdict = settle(error, delivery=1, attempts=5)

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
