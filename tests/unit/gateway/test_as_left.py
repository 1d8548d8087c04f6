"""What is known of the folders where no instance runs."""

import json
import time
from datetime import UTC, datetime

import pytest
from gateway_world import NOW
from memory_kv import MemoryShelf

from services.gateway.build import _as_left
from services.gateway.status.status import EMPTY, Observation, StageSeen, status
from shared.bus.monitor import watchers
from shared.bus.monitor.watched import FORGOTTEN_S, Watched
from shared.ports import Hold

LATER = NOW + 7 * 86_400.0
"""Long after the last process has ended."""


def hold(**decided):
    since = datetime(2026, 11, 21, 11, 0, tzinfo=UTC)
    return Hold("docs", since, 25, 30, ("a.md",), **{"kept": False, **decided})


def told(source="docs", at=NOW, **fields):
    return Watched(source, at, **{"listed": True, **fields})


def answered(told, *, holds=(), stages=()):
    left = _as_left(told, holds, LATER)
    seen = Observation(
        at=LATER,
        stages=stages,
        listed=left.listed,
        sources=left.health,
        held=sum(left.held_of.values()),
        watched_at=left.watched_at,
    )
    return status(EMPTY, seen)


def test_all_was_in_step_when_the_folder_was_looked_at_last():
    answer = answered([told()])

    assert (answer.in_step, answer.runs) == (False, False)
    assert answer.in_step_as_of == answer.watermark == datetime.fromtimestamp(NOW, UTC)


def test_folders_that_were_watched_by_different_runs_are_known_up_to_the_earlier_one():
    answer = answered([told(), told("wiki", NOW + 600)])

    assert answer.in_step_as_of == datetime.fromtimestamp(NOW, UTC)
    assert [source.error for source in answer.sources] == []


def test_of_submissions_alone_nothing_is_missed():
    assert answered([]).in_step_as_of == datetime.fromtimestamp(LATER, UTC)


@pytest.mark.parametrize(
    ("left", "more"),
    [
        (told(listed=False), {}),
        (told(error="no such folder"), {}),
        (told(), {"holds": [hold()]}),
        (told(), {"stages": [StageSeen("accept", 1, 0, oldest_at=NOW + 60)]}),
    ],
    ids=["not listed", "no folder", "a hold", "a submission"],
)
def test_what_was_left_undone_is_not_in_step_as_of_any_time(left, more):
    answer = answered([left], **more)

    assert (answer.in_step, answer.in_step_as_of) == (False, None)
    assert answer.watermark in (None, datetime.fromtimestamp(NOW, UTC))


@pytest.mark.parametrize("decided", ["kept", "released"])
def test_what_a_person_has_decided_does_not_wait(decided):
    answer = answered([told()], holds=[hold(**{decided: True})])

    assert (answer.documents["held"], answer.in_step_as_of) == (0, answer.watermark)


async def last_told(*notes):
    shelf = MemoryShelf()
    for note in notes:
        await watchers.tell(shelf, note)
    return [one.source for one in await watchers.last_told(shelf)]


async def test_a_folder_is_remembered_however_long_nothing_has_run():
    long_ago = time.time() - 30 * FORGOTTEN_S

    assert await last_told(told(at=long_ago)) == ["docs"]
    assert await last_told(told(at=long_ago), told("wiki", long_ago + FORGOTTEN_S + 60)) == ["wiki"]


async def test_a_clock_that_was_ahead_hides_no_folder():
    now = time.time()

    assert await last_told(told(at=now - 60), told("wiki", now + 30 * FORGOTTEN_S)) == [
        "docs",
        "wiki",
    ]


def test_what_an_older_version_told_of_a_hold_was_not_released():
    raw = json.loads(told(hold=hold()).encode())
    del raw["hold"]["released"]

    assert watchers.decode(json.dumps(raw).encode()).hold == hold()
