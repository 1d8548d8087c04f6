"""Streams, buckets and stages fit each other, the events, and the disk that they may use."""

import re
from itertools import combinations

import pytest

from shared.bus.admin.configs import BODIES_BYTES
from shared.contracts import address
from shared.domain.events import EVENTS, Result
from shared.domain.services import lanes, stages
from shared.domain.topology import (
    BUCKETS,
    KB,
    MAX_INLINE_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_PART_BYTES,
    MAX_PART_ROWS,
    STREAMS,
    ledger_bucket,
)
from shared.settings import Bus

GENERATION = "gabcdefgh"
STAGES = lanes(stages(GENERATION))


def matches(pattern, subject):
    """Whether a subject, which may hold wildcards itself, lies within a pattern of NATS."""
    wanted, have = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        return len(have) >= len(wanted) and matches(
            ".".join(wanted[:-1]), ".".join(have[: len(wanted) - 1])
        )
    return len(wanted) == len(have) and all(
        one in ("*", other) for one, other in zip(wanted, have, strict=True)
    )


def overlap(one, other):
    """Whether some subject lies within both patterns."""
    one, other = one.split("."), other.split(".")
    for a, b in zip(one, other, strict=False):
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(one) == len(other)


def stream_of(name):
    return next(stream for stream in STREAMS if stream.name == name)


def test_everything_fits_the_disk_that_the_bundled_server_may_use():
    streams = sum(stream.max_bytes for stream in STREAMS)
    buckets = sum(bucket.max_bytes for bucket in (*BUCKETS, ledger_bucket(GENERATION)))
    another_generation = ledger_bucket("ghgfedcba").max_bytes

    assert streams + buckets + another_generation + BODIES_BYTES <= Bus().max_file


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_is_published_on_a_subject_of_its_own_stream_only(kind):
    subject = re.sub(r"\{\w+\}", "x", address(kind))
    takers = [s.name for s in STREAMS if any(matches(p, subject) for p in s.subjects)]

    assert takers == [kind.stream]


def test_no_subject_belongs_to_two_streams():
    every = [subject for stream in STREAMS for subject in stream.subjects]

    assert [pair for pair in combinations(every, 2) if overlap(*pair)] == []


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_reads_its_events_from_the_stream_that_has_them(stage):
    assert stage.event.stream == stage.stream
    for subject in stage.subjects:
        assert any(matches(pattern, subject) for pattern in stream_of(stage.stream).subjects)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_never_runs_more_than_it_holds_and_ends_some_day(stage):
    assert stage.concurrency <= stage.prefetch
    assert stage.attempts or stage.patience_s


def test_a_work_queue_has_one_reader_per_subject():
    for one, other in combinations(STAGES, 2):
        shared = [(a, b) for a in one.subjects for b in other.subjects if overlap(a, b)]

        assert not shared or stream_of(one.stream).retention == "limits"


def test_stages_of_two_generations_share_no_durable_and_no_work():
    other = lanes(stages("ghgfedcba"))
    shared = {stage.name for stage in STAGES} & {stage.name for stage in other}

    assert shared == {"accept"}
    for stage in STAGES:
        if stream_of(stage.stream).retention == "workqueue" and stage.name not in shared:
            assert not any(
                overlap(a, b)
                for a in stage.subjects
                for peer in other
                if peer.stream == stage.stream
                for b in peer.subjects
            )


def test_the_validator_hears_every_outcome_but_its_own_word():
    heard = next(stage for stage in STAGES if stage.event is Result)

    assert {subject.split(".")[1] for subject in heard.subjects} == {
        "indexed",
        "removed",
        "refused",
        "failed",
    }


def test_no_work_is_dropped_to_make_room():
    for stream in STREAMS:
        if stream.retention == "workqueue" or stream.max_msgs_per_subject == 1:
            assert stream.discard == "new"


def test_revisions_and_ledgers_never_count_below_what_was_lost():
    assert stream_of("DOCS").clock_sequence
    assert ledger_bucket(GENERATION).clock_sequence


def test_what_is_cut_to_size_fits_a_message():
    vectors_of_the_packaged_model = MAX_PART_ROWS * 384 * 4 * 4 // 3

    assert MAX_PART_BYTES + vectors_of_the_packaged_model + 64 * KB < MAX_MESSAGE_BYTES
    assert MAX_INLINE_BYTES * 2 < MAX_MESSAGE_BYTES
