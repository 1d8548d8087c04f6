from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from shared.bus.monitor.watched import (
    FORGOTTEN_S,
    SILENT_S,
    Watched,
    all_listed,
    decode,
    not_given,
    remembered,
)
from shared.ports import Hold

holds = st.builds(
    Hold,
    source=st.text(max_size=9),
    since=st.datetimes(timezones=st.just(UTC)),
    vanished=st.integers(0, 99),
    of=st.integers(0, 99),
    sample=st.lists(st.text(max_size=9), max_size=3).map(tuple),
    kept=st.booleans(),
)
seen = st.builds(
    Watched,
    source=st.text(max_size=9),
    at=st.floats(0, 4e9),
    listed=st.booleans(),
    error=st.text(max_size=9),
    problems=st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3),
    hold=st.none() | holds,
    began=st.floats(0, 4e9),
    ended=st.booleans(),
    path=st.text(max_size=9),
    same_as=st.text(max_size=9),
)
FINE = Watched("docs", at=1000.0, listed=True)


@given(st.lists(seen, unique_by=lambda one: one.source), st.floats(0, 4e9), st.sets(st.text()))
def test_every_source_is_watched_or_not_given_unless_the_settings_name_it(notes, now, expected):
    watched = {one.source for one in remembered(notes, now, expected)}
    past = [one.source for one in not_given(notes, now, expected)]

    assert past == sorted(past)
    assert watched.isdisjoint(past)
    assert watched | set(past) == expected | {one.source for one in notes}


@given(seen)
def test_what_is_told_is_read(one):
    assert decode(one.encode()) == one


@given(st.binary(max_size=60) | seen.map(lambda one: one.encode()[:-9]))
def test_what_cannot_be_read_tells_nothing(data):
    assert decode(data) is None


@given(seen, st.floats(0, 4e9))
def test_the_time_alone_is_no_news(one, at):
    later = replace(one, at=at)
    changed = replace(later, listed=not one.listed)

    assert later.says_the_same(one)
    assert not changed.says_the_same(one)
    assert not one.says_the_same(None)


def test_a_silent_process_is_an_error_of_its_source():
    assert FINE.health(1000.0 + SILENT_S).error == ""
    assert "silent" in FINE.health(1001.0 + SILENT_S).error
    assert FINE.health(5.0).error == ""  # a clock behind the other one's


def test_all_is_listed_when_every_folder_is_that_a_process_watches_now():
    beginning = Watched("docs", at=1000.0, listed=False)

    assert all_listed([FINE], 1000.0)
    assert all_listed([], 1000.0)
    assert not all_listed([FINE, beginning], 1000.0)
    assert all_listed([FINE, beginning], 1001.0 + SILENT_S)  # that is an error of its own


def test_a_folder_whose_process_has_stopped_is_not_known():
    stopped = replace(FINE, ended=True)

    assert stopped.health(1000.0).error == "no process watches it"
    assert all_listed([replace(stopped, listed=False)], 1000.0)  # that is an error of its own


def test_a_folder_of_the_settings_that_no_process_watches_is_missed():
    (docs, wiki) = remembered([FINE], 1000.0, ["wiki", "docs"])

    assert docs == FINE
    assert (wiki.listed, wiki.health(1000.0).error) == (False, "no process watches it")
    assert not all_listed([docs, wiki], 1000.0)


def test_what_an_earlier_process_watched_and_none_does_now_is_not_asked_for():
    assert remembered([replace(FINE, left=True)], 1000.0) == []


def test_a_hold_keeps_its_moment():
    hold = Hold("docs", datetime(2026, 1, 1, tzinfo=UTC), 25, 30, ("a.md",), kept=False)
    found = decode(Watched("docs", 1.0, listed=True, hold=hold).encode())

    assert found.hold == hold


def test_a_source_that_nobody_has_watched_for_a_day_is_forgotten():
    other = Watched("a", at=1000.0 + FORGOTTEN_S, listed=True)

    assert remembered([FINE, other], 1000.0 + FORGOTTEN_S) == [other, FINE]
    assert remembered([FINE, other], 1001.0 + FORGOTTEN_S) == [other]
