"""Alive: starting again would not help. Ready: it does its work now."""

from dataclasses import replace

from shared.observe.health import WEDGED_AFTER_S, Sight, StageSight, alive, passed, ready

FETCHES = StageSight("embedder", open=True, receives=True, turned_s=1.0)
WELL = Sight(serving=True, connected=True, stages=[FETCHES])


def missing(checks):
    return {check.name: check.text for check in checks if not check.ok}


def test_a_process_that_serves_is_alive_and_ready():
    assert missing(alive(WELL)) == {}
    assert missing(ready(WELL)) == {}


def test_a_process_that_waits_for_the_bus_is_alive_and_says_what_is_missing():
    waits = Sight(waits={"bus": "nobody answers"})

    assert passed(alive(waits))
    assert missing(ready(waits)) == {"bus": "waits: nobody answers", "services": "starting"}


def test_a_lost_connection_is_no_reason_to_start_again():
    quiet = replace(FETCHES, receives=False)
    lost = replace(WELL, connected=False, stages=[quiet])

    assert passed(alive(lost))
    assert missing(ready(lost)) == {
        "bus": "the connection was lost",
        "embedder": "gets no messages",
    }


def test_a_fetch_loop_that_stands_still_is_dead():
    wedged = replace(WELL, stages=[replace(FETCHES, turned_s=WEDGED_AFTER_S + 1)])

    assert missing(alive(wedged)) == {"embedder": "its fetch loop has not turned for 31 s"}
    assert not passed(ready(wedged))


def test_a_fetch_loop_that_was_told_to_stop_may_stand_still():
    closed = replace(WELL, stages=[replace(FETCHES, open=False, turned_s=999)])

    assert passed(alive(closed))
    assert missing(ready(closed)) == {"embedder": "does not fetch"}


def test_a_stage_that_can_never_fetch_again_is_dead():
    gone = replace(FETCHES, open=False, fatal="it is gone")

    assert missing(alive(replace(WELL, stages=[gone]))) == {"embedder": "it is gone"}
    assert missing(ready(replace(WELL, stages=[gone]))) == {"embedder": "it is gone"}


def test_what_ended_the_work_makes_it_dead_and_is_named():
    assert missing(alive(replace(WELL, failed="StoreMismatch"))) == {"work": "StoreMismatch"}


def test_a_process_that_drains_is_alive_and_not_ready():
    draining = replace(WELL, stopping=True)

    assert passed(alive(draining))
    assert list(missing(ready(draining))) == ["stopping"]


def test_a_model_that_loads_is_missing():
    assert missing(ready(replace(WELL, waits={"model": "it loads"}))) == {
        "model": "waits: it loads"
    }


def test_a_process_that_is_connected_and_does_not_serve_yet_is_starting():
    assert missing(ready(Sight(connected=True))) == {"services": "starting"}
    assert missing(ready(Sight())) == {"bus": "not connected yet", "services": "starting"}
