"""What a delivery adds to what is known of its message."""

from hypothesis import given
from hypothesis import strategies as st

from shared.bus.delivery.failure_notes import Known, Trouble
from shared.bus.delivery.outcome import UNNOTED_POLLS, Ack, Bury, Retry, after, before
from shared.domain.errors import NotYetIndexed, TransientError
from shared.domain.topology import ACCEPT, RECORDER, index_stage

STAGE = index_stage("g1", patience_s=3600.0)


def polled(known, *, times, delivery=1, now=1e9, took_s=0.0, error=None):
    """The last verdict on a message that is polled for, and what is known then."""
    verdict = None
    for n in range(times):
        known, verdict = after(
            STAGE,
            error or NotYetIndexed("x"),
            known,
            delivery=delivery + n,
            took_s=took_s,
            now=now,
        )
    return known, verdict


def polls_until_buried(**options):
    known, verdict, polls, waited_s = Known(), None, 0, 0.0
    while not isinstance(verdict, Bury):
        known, verdict = polled(known, times=1, **options)
        waited_s += verdict.after_s if isinstance(verdict, Retry) else 0.0
        polls += 1
    return polls, waited_s, verdict


def test_the_wait_for_the_store_is_the_pauses_of_its_polls():
    polls, waited_s, verdict = polls_until_buried()

    assert verdict.code == "not_searchable"
    assert 3600 <= waited_s <= 3660
    assert polls > 60


@given(st.integers(1, 10_000), st.floats(0, 4e9))
def test_neither_hand_backs_nor_clocks_nor_a_queue_end_the_wait(delivery, now):
    _, verdict = polled(Known(), times=3, delivery=delivery, now=now)

    assert isinstance(verdict, Retry)


def test_a_slow_look_counts_as_waiting_so_the_wait_has_an_end():
    error = NotYetIndexed("x", after_s=0.02)  # what a clock that was put back makes of its age
    polls, _, _ = polls_until_buried(took_s=36.0, error=error)
    held, _ = polled(Known(), times=1, took_s=600.0)  # the bus was away meanwhile

    assert polls == 100
    assert held.trouble.polled_s < 61


def test_a_wait_is_noted_when_it_lasts_and_goes_on_where_it_was():
    first, _ = polled(Known(), times=UNNOTED_POLLS)
    later, _ = polled(first, times=1, delivery=UNNOTED_POLLS + 1)

    assert not first.noted
    assert later.noted
    assert later.trouble.polls == UNNOTED_POLLS + 1
    assert later.trouble.polled_s > first.trouble.polled_s + 59


def test_a_failure_is_no_poll_and_a_poll_no_failure():
    known, _ = polled(Known(), times=2)
    known, verdict = after(STAGE, TransientError("x"), known, delivery=3, took_s=0.0, now=1.0)

    assert isinstance(verdict, Retry)
    assert (known.trouble.polls, known.trouble.failures) == (2, 1)


def test_what_returned_is_done():
    assert after(STAGE, None, Known(), delivery=1, took_s=0.0, now=1.0) == (Known(), Ack())


def test_a_letter_that_kills_is_neither_opened_nor_buried_for_nobody_would_hear_of_it():
    killer = Known(Trouble(killed=5), seen_to_end=False, noted=True)
    letter = before(RECORDER, killer, delivery=9)
    other = before(ACCEPT, killer, delivery=9)

    assert letter == Retry(60.0)
    assert isinstance(other, Bury)
    assert before(ACCEPT, Known(Trouble(killed=4)), delivery=9) is None
