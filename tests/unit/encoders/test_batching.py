from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.encoders.batching import next_batch, padded, plan_batches, whose_turn, with_guests

lengths = st.lists(st.integers(1, 400), max_size=80)
limits = st.fixed_dictionaries(
    {
        "max_tokens": st.integers(1, 2048),
        "max_items": st.integers(1, 64),
        "multiple": st.sampled_from([1, 8, 16]),
    }
)


@given(lengths, limits)
def test_every_text_is_in_exactly_one_batch(lengths, limits):
    plan = plan_batches(lengths, **limits)

    assert sorted(index for batch in plan for index in batch) == list(range(len(lengths)))
    assert all(plan)


@given(lengths, limits)
def test_a_batch_keeps_its_budget_unless_one_text_alone_exceeds_it(lengths, limits):
    for batch in plan_batches(lengths, **limits):
        width = padded(max(lengths[i] for i in batch), limits["multiple"])

        assert len(batch) == 1 or len(batch) * width <= limits["max_tokens"]
        assert len(batch) <= limits["max_items"]


@given(lengths, limits)
def test_batches_are_closed_only_when_full(lengths, limits):
    plan = plan_batches(lengths, **limits)

    for batch, following in pairwise(plan):
        width = padded(max(lengths[i] for i in batch), limits["multiple"])
        full = len(batch) == limits["max_items"] or width * (len(batch) + 1) > limits["max_tokens"]

        assert full
        assert min(lengths[i] for i in batch) >= max(lengths[i] for i in following)


@given(lengths, limits, st.randoms(use_true_random=False))
def test_the_plan_depends_on_the_lengths_and_not_on_their_order(lengths, limits, chance):
    shuffled = list(lengths)
    chance.shuffle(shuffled)

    def shapes(given):
        return [[given[i] for i in batch] for batch in plan_batches(given, **limits)]

    assert plan_batches(lengths, **limits) == plan_batches(lengths, **limits)
    assert shapes(lengths) == shapes(shuffled)


@given(lengths.filter(bool), limits, st.data())
def test_the_next_batch_is_the_one_of_the_plan_that_holds_the_first_text(lengths, limits, data):
    first = data.draw(st.integers(0, len(lengths) - 1))
    batch = next_batch(lengths, first, **limits)

    assert first in batch
    assert batch in plan_batches(lengths, **limits)


@given(lengths.filter(bool), st.integers(1, 2048), st.integers(1, 64), st.data())
def test_guests_make_a_batch_neither_wider_nor_larger_and_its_first_text_stays(
    lengths, max_tokens, max_items, data
):
    limits = {"max_tokens": max_tokens, "max_items": max_items}
    first = data.draw(st.integers(0, len(lengths) - 1))
    guests = data.draw(st.lists(st.integers(0, len(lengths) - 1), unique=True))
    batch = next_batch(lengths, first, **limits)
    whole = with_guests(batch, guests, lengths, first, **limits)
    width = padded(max(lengths[i] for i in batch))

    assert first in whole
    assert len(set(whole)) == len(whole) <= max_items
    assert len(whole) == 1 or len(whole) * width <= max_tokens
    assert all(lengths[i] <= width for i in whole)
    assert set(whole) - set(batch) <= set(guests)
    assert len(whole) >= len(batch)


def test_a_guest_takes_the_place_of_the_shortest_text():
    lengths = [8, 7, 6, 5, 2]

    assert with_guests([0, 1, 2, 3], [4], lengths, 3, max_tokens=32, max_items=64) == [0, 1, 3, 4]


def test_guests_are_few_and_a_full_call_of_one_text_has_none():
    lengths = [8] * 60

    many = with_guests(range(20), range(20, 60), lengths, 0, max_tokens=2048, max_items=32)
    alone = with_guests([0], [1], lengths, 0, max_tokens=8, max_items=64)

    assert sorted(many) == list(range(24))
    assert alone == [0]


def test_texts_without_a_token_are_a_call_of_their_own():
    assert with_guests([0], [1], [0, 3], 0, max_tokens=2048, max_items=64) == [0]


def test_a_guest_that_is_wider_waits_for_its_own_turn():
    assert with_guests([0], [1, 2], [8, 9, 3], 0, max_tokens=2048, max_items=64) == [0, 2]


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30), st.integers(0, 1000))
def test_of_two_turns_one_is_the_oldest_callers_and_one_the_smallest_callers(remaining, turn):
    turns = [whose_turn(remaining, turn), whose_turn(remaining, turn + 1)]

    assert 0 in turns
    assert min(remaining) in [remaining[i] for i in turns]


def test_an_edit_does_not_wait_behind_a_huge_job():
    assert whose_turn([10_000, 500, 1], turn=1) == 2


def test_the_width_of_a_batch_is_rounded_up():
    assert [padded(n) for n in (1, 8, 9)] == [8, 8, 16]
