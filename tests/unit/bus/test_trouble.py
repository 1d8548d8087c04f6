"""What is known about a message beyond its number of deliveries."""

from hypothesis import given
from hypothesis import strategies as st

from shared.bus.delivery.failure_notes import WORK, Ended, Known, Trouble, decode, name_of

troubles = st.builds(
    Trouble,
    st.integers(0, 99),
    st.floats(0, 4e9),
    st.integers(0, 9),
    st.integers(0, 99),
    st.floats(0, 1e5),
)


@given(troubles)
def test_a_note_says_what_was_written(trouble):
    assert decode(trouble.encode()) == trouble


@given(st.binary())
def test_a_note_that_cannot_be_read_accuses_nobody(data):
    assert decode(data).killed == 0


def test_a_note_of_an_older_version_says_as_much_as_it_did():
    assert decode(b'{"failures": 2, "since": 5.0, "killed": 1}') == Trouble(2, 5.0, 1)


def test_copies_have_one_name_and_a_forged_header_names_nothing():
    work = "a" * 26

    assert name_of(7, 1, {WORK: work}) == name_of(8, 2, {WORK: work}) == work
    for forged in ({}, {WORK: "other.stage.>"}, {WORK: work + "a"}):
        assert name_of(7, 1, forged) == "7-1"


def test_a_sequence_that_a_new_stream_gives_again_is_another_name():
    assert name_of(7, 1, {}) != name_of(7, 2, {})


def test_the_time_of_the_first_failure_stays():
    trouble = Trouble().failed(100.0).failed(160.0)

    assert (trouble.failures, trouble.since) == (2, 100.0)


def test_a_delivery_after_one_that_ended_here_is_beyond_suspicion():
    ended = Ended()
    ended.remember(7, 3, Trouble(failures=2), noted=True)

    assert ended.known(7, 4) == Known(Trouble(failures=2), seen_to_end=True, noted=True)
    assert ended.known(7, 5) is None  # the fourth was somebody else's
    assert ended.known(8, 2) is None


def test_only_the_latest_are_remembered():
    ended = Ended(most=2)
    for sequence in (1, 2, 3):
        ended.remember(sequence, 1, Trouble(), noted=False)
    ended.forget(3)

    assert [ended.known(sequence, 2) is not None for sequence in (1, 2, 3)] == [False, True, False]
