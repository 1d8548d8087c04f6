"""P1, P3, P4 over random histories of the real use cases: any order, crashes, zombies."""

import random

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from protocol_world import Broken, World, with_parts_of

scripts = st.lists(st.sampled_from("ABCDEFX"), min_size=1, max_size=5)
tapes = st.binary(max_size=250)
HISTORIES = 1500


def _play(world: World, script: list[str], tape: bytes) -> None:
    try:
        world.play(script, tape)
    except Broken:
        note("\n".join(world.trace))
        raise


@pytest.mark.slow
@settings(max_examples=HISTORIES, deadline=None, database=None, print_blob=True)
@given(script=scripts, tape=tapes, lag=st.booleans())
def test_any_history_ends_with_exactly_the_last_content(script, tape, lag):
    _play(World(lag=lag), script, tape)


@pytest.mark.slow
@settings(max_examples=HISTORIES, deadline=None, database=None, print_blob=True)
@given(script=scripts, tape=tapes)
def test_the_same_with_revisions_in_several_parts(script, tape):
    with pytest.MonkeyPatch.context() as patch:
        with_parts_of(1, patch)
        _play(World(indexers=2, embedders=2), script, tape)


@pytest.mark.slow
@settings(max_examples=HISTORIES // 3, deadline=None, database=None, print_blob=True)
@given(script=scripts, before=tapes, after=tapes)
def test_a_needless_resubmission_at_any_time_harms_nothing(script, before, after):
    world = World()
    left = list(script)
    world.submit(left.pop(0))
    world.wander(left, before)
    world.resubmit()

    _play(world, left, after)


@pytest.mark.slow
@settings(max_examples=HISTORIES // 3, deadline=None, database=None, print_blob=True)
@given(script=scripts, before=tapes, after=tapes, what=st.sampled_from(["ledger", "row", "part"]))
def test_a_resubmission_heals_a_lost_ledger_a_lost_row_and_a_dead_part(script, before, after, what):
    world = World(enrichers=1, indexers=2)
    left = [content for content in script if content != "X"] or ["A"]
    world.submit(left.pop(0))
    world.wander(left, before)
    if what == "ledger":
        world.lose_ledger()
    elif what == "row" and world.store:
        world.lose_row()
    elif world.vectors:
        world.bury(min(world.vectors))
        world.damaged = True
    while left:
        world.submit(left.pop(0))
    world.resubmit()

    _play(world, [], after)


@pytest.mark.slow
def test_ten_thousand_random_steps_with_a_printed_seed():
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # shown by pytest when the test fails
    chance = random.Random(seed)
    steps = 0
    while steps < 10_000:
        script = chance.choices("ABCDEFX", k=chance.randint(1, 8))
        tape = bytes(chance.randrange(256) for _ in range(chance.randint(0, 400)))
        world = World(lag=chance.random() < 0.5, enrichers=2, embedders=2, indexers=4)
        world.play(script, tape)
        steps += len(world.trace)
