from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.gateway.search.rank import best_per_chunk, best_per_document, fuse, weights_for
from shared.ports import Hit

names = st.sampled_from("abcdefgh")
cosines = st.floats(-1, 1, width=32)
bm25s = st.floats(0.0009765625, 60, width=32)
weights = st.builds(
    lambda v, k: weights_for("hybrid", v, k), st.floats(0.01, 9), st.floats(0.01, 9)
)


def hit(row, score, document="d", chunk=None):
    return Hit(
        id=row,
        doc_key=document,
        source="docs",
        path=f"{document}.md",
        born=1,
        chunk_key=chunk or row,
        title="",
        heading=(),
        text="",
        score=score,
    )


def lists(scores):
    return st.dictionaries(names, scores, max_size=8).map(
        lambda found: [hit(row, score) for row, score in found.items()]
    )


@given(vector=lists(cosines), keyword=lists(bm25s), weights=weights)
def test_the_parts_sum_to_the_score_exactly_as_displayed(vector, keyword, weights):
    for ranked in fuse(vector, keyword, weights):
        shown = [Decimal(str(part.adds)) for part in ranked.parts.values()]

        assert sum(shown) == Decimal(str(ranked.score))
        assert -1e-9 <= ranked.score <= 1.0001


@given(vector=lists(cosines), keyword=lists(bm25s), weights=weights)
def test_every_hit_of_either_list_is_there_once_and_the_best_come_first(vector, keyword, weights):
    ranked = fuse(vector, keyword, weights)

    assert sorted(r.hit.id for r in ranked) == sorted({h.id for h in (*vector, *keyword)})
    scores = [r.score for r in ranked]
    assert scores == sorted(scores, reverse=True)


@given(vector=lists(cosines), keyword=lists(bm25s), weights=weights, more=st.floats(0, 2))
def test_a_better_cosine_never_lowers_a_hit(vector, keyword, weights, more):
    assume(vector)
    first = vector[0]
    better = [hit(first.id, min(1.0, first.score + more)), *vector[1:]]

    before = {r.hit.id: r.score for r in fuse(vector, keyword, weights)}
    after = {r.hit.id: r.score for r in fuse(better, keyword, weights)}

    assert after.pop(first.id) >= before.pop(first.id)
    assert after == before


@given(keyword=lists(bm25s), weights=weights)
def test_keyword_parts_keep_the_order_of_the_store(keyword, weights):
    adds = {r.hit.id: r.parts["keyword"].adds for r in fuse([], keyword, weights)}

    by_store = sorted(keyword, key=lambda h: h.score)
    shown = [adds[h.id] for h in by_store]
    assert shown == sorted(shown)


def test_a_hit_that_one_list_lacks_gets_nothing_from_it_and_stays():
    ranked = fuse([hit("a", 0.8)], [hit("b", 7.0)], weights_for("hybrid", 0.6, 0.4))

    by_id = {r.hit.id: r for r in ranked}
    assert by_id["a"].score == 0.48
    assert by_id["a"].parts["keyword"].raw is None
    assert by_id["a"].parts["keyword"].adds == 0
    assert by_id["b"].score == 0.4
    assert by_id["b"].parts["vector"].raw is None


def test_a_mode_shows_its_own_part_only():
    vector = fuse([hit("a", 0.5)], [], weights_for("vector", 0.6, 0.4))
    keyword = fuse([], [hit("a", 3.0), hit("b", 1.5)], weights_for("keyword", 0.6, 0.4))

    assert vector[0].score == 0.5
    assert set(vector[0].parts) == {"vector"}
    assert [r.score for r in keyword] == [1.0, 0.5]
    assert set(keyword[0].parts) == {"keyword"}


def test_weights_are_scaled_and_may_not_both_be_nothing():
    assert weights_for("hybrid", 3, 1).vector == 0.75

    with pytest.raises(ValueError, match="above 0"):
        weights_for("hybrid", 0, 0)


def test_a_negative_or_broken_score_counts_as_nothing():
    ranked = fuse([hit("a", -0.4), hit("b", float("nan"))], [], weights_for("vector", 1, 0))

    assert [r.score for r in ranked] == [0.0, 0.0]


def test_the_best_of_a_chunk_and_of_a_document_is_kept():
    hits = [
        hit("1", 0.9, "x", "k"),
        hit("2", 0.8, "x", "k"),
        hit("3", 0.7, "x", "l"),
        hit("4", 0.6, "y", "k"),
    ]
    ranked = fuse(hits, [], weights_for("vector", 1, 0))

    assert [r.hit.id for r in best_per_chunk(ranked)] == ["1", "3", "4"]
    assert [r.hit.id for r in best_per_document(ranked)] == ["1", "4"]
