"""Who is there, by what was heard and when."""

import pytest

from shared.domain.presence import (
    EVERY_S,
    EVERYBODY,
    GONE_AFTER_S,
    Present,
    sender,
    subject_of,
)
from shared.domain.services import consumers
from shared.domain.topology import embed_stage

STAGE = embed_stage("g1")
LANES = [lane.name for lane in STAGE.lanes]
START = 100.0
LONG_AFTER = START + 1000.0


@pytest.fixture
def present():
    made = Present()
    made.listens(START)
    return made


def test_processes_are_counted_for_their_own_stage(present):
    present.heard("embedder_g1", "one", START)
    present.heard("embedder_g1", "two", START)
    present.heard("indexer_g1", "three", START)

    assert present.count(LANES, START) == 2
    assert present.count(["indexer_g1"], START) == 1


def test_a_process_that_serves_both_lanes_counts_once(present):
    for lane in LANES:
        present.heard(lane, "one", START)
    present.heard(LANES[1], "two", START)

    assert len(LANES) == 2
    assert present.count(LANES, START) == 2


def test_a_process_of_another_generation_is_not_counted(present):
    present.heard("embedder_g2", "one", LONG_AFTER)

    assert present.count(LANES, LONG_AFTER) == 0


def test_a_process_that_was_heard_again_stays_and_a_silent_one_goes(present):
    present.heard("embedder_g1", "alive", START)
    present.heard("embedder_g1", "killed", START)
    present.heard("embedder_g1", "alive", START + EVERY_S)
    at_the_limit = present.count(LANES, START + GONE_AFTER_S)
    after_it = present.count(LANES, START + GONE_AFTER_S + 0.001)

    assert (at_the_limit, after_it) == (2, 1)


def test_a_process_that_says_bye_is_gone_at_once(present):
    present.heard("embedder_g1", "one", START)
    present.heard("embedder_g1", "two", START)
    present.heard("embedder_g1", "one", START, bye=True)

    assert present.count(LANES, START) == 1


def test_a_bye_of_somebody_who_was_never_heard_changes_nothing(present):
    present.heard("embedder_g1", "stranger", LONG_AFTER, bye=True)

    assert present.count(LANES, LONG_AFTER) == 0


def test_nobody_is_said_to_be_there_only_after_it_was_listened_for_long_enough(present):
    early = present.count(LANES, START + GONE_AFTER_S)
    late = present.count(LANES, START + GONE_AFTER_S + 0.001)

    assert (early, late) == (None, 0)


def test_who_was_heard_is_told_before_that(present):
    present.heard("embedder_g1", "one", START)

    assert present.count(LANES, START) == 1
    assert present.count(["indexer_g1"], START) is None


@pytest.mark.parametrize("since", [None, LONG_AFTER])
def test_without_listening_nobody_can_say_that_nobody_is_there(present, since):
    """As without the permission, and after a connection that was interrupted."""
    present.heard("embedder_g1", "one", START)
    present.listens(since)

    assert present.count(LANES, LONG_AFTER) is None


def test_names_that_come_and_go_do_not_fill_the_memory(present):
    for n in range(1000):
        present.heard("embedder_g1", f"process{n}", START + n)

    assert len(present._heard["embedder_g1"]) <= GONE_AFTER_S + 1


def test_every_durable_consumer_has_a_subject_that_says_what_it_is():
    every = [stage.name for stage in consumers("g1")]
    subjects = [subject_of(name, "0123456789abcdef") for name in every]

    assert [sender(subject) for subject in subjects] == [(n, "0123456789abcdef") for n in every]
    assert {len(subject.split(".")) for subject in subjects} == {len(EVERYBODY.split("."))}
