"""Which documents are asked for by their own vectors."""

from hypothesis import given
from hypothesis import strategies as st

from services.validator.sampling import BATCHES_REMEMBERED, BURST, PER_S, Sampling


def test_the_first_documents_of_each_batch_are_asked_for():
    sampling = Sampling(3)

    assert [sampling.takes("a", 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert sampling.takes("b", 0.0)


def test_a_batch_of_which_none_was_asked_for_has_as_many():
    sampling = Sampling(3)

    assert (sampling.some(1200, 0.0), sampling.some(2, 0.0), sampling.some(0, 0.0)) == (3, 2, 0)


def test_none_is_asked_for_where_nobody_wants_it():
    sampling = Sampling(0)

    assert not sampling.takes("a", 0.0)
    assert sampling.some(5, 0.0) == 0


def test_edits_that_are_a_batch_each_share_an_allowance_that_comes_back():
    sampling = Sampling(20)
    at_once = sum(sampling.takes(f"b{n}", 100.0) for n in range(1000))
    later = sum(sampling.takes(f"c{n}", 102.0) for n in range(1000))
    after_a_rest = sum(sampling.takes(f"d{n}", 10_000.0) for n in range(1000))

    assert (at_once, later, after_a_rest) == (BURST, 2 * PER_S, BURST)


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 3), st.integers(0, 50)), max_size=200),
    st.integers(0, 30),
)
def test_never_more_than_the_allowance_nor_than_of_a_batch(asks, per_batch):
    sampling, now, asked, of_batch = Sampling(per_batch), 0.0, 0, dict[str, int]()
    for gap, batch, documents in asks:
        now += gap
        some = sampling.some(documents, now)
        one = sampling.takes(str(batch), now)
        of_batch[str(batch)] = of_batch.get(str(batch), 0) + one
        asked += some + one

        assert 0 <= some <= min(documents, per_batch)
        assert of_batch[str(batch)] <= per_batch
        assert asked <= BURST + now * PER_S + 1e-6


def test_batches_of_long_ago_are_forgotten():
    sampling = Sampling(1)
    for n in range(2 * BATCHES_REMEMBERED):
        sampling.takes(f"b{n}", 1000.0 * n)

    assert not sampling.takes(f"b{2 * BATCHES_REMEMBERED - 1}", 1e9)
    assert sampling.takes("b0", 1e9)
