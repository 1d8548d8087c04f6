from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.gateway.search.rank import (
    Weights,
    best_per_chunk,
    best_per_document,
    floor,
    fuse,
    lower_repeated,
    weights_for,
)
from shared.ports import Hit

names = st.sampled_from("abcdefgh")
cosines = st.floats(-1, 1, width=32)
bm25s = st.floats(0.0009765625, 60, width=32)
weights = st.builds(
    lambda v, k: weights_for("hybrid", Weights(v, k)), st.floats(0.01, 9), st.floats(0.01, 9)
)


def hit(row, score, document="d", chunk=None, *, title="", text="", source="docs"):
    return Hit(
        id=row,
        doc_key=document,
        source=source,
        path=f"{document}.md",
        born=1,
        chunk_key=chunk or row,
        title=title,
        heading=(),
        text=text,
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
    ranked = fuse([hit("a", 0.8)], [hit("b", 7.0)], weights_for("hybrid", Weights(0.6, 0.4)))

    by_id = {r.hit.id: r for r in ranked}
    assert by_id["a"].score == 0.48
    assert by_id["a"].parts["keyword"].raw is None
    assert by_id["a"].parts["keyword"].adds == 0
    assert by_id["b"].score == 0.4
    assert by_id["b"].parts["vector"].raw is None


def test_a_hit_that_a_cut_list_lacks_counts_as_the_worst_of_the_list():
    vector, keyword = [hit("a", 0.8), hit("b", 0.5)], [hit("c", 8.0), hit("a", 2.0)]

    ranked = fuse(
        vector,
        keyword,
        weights_for("hybrid", Weights(0.6, 0.4)),
        vector_floor=floor(vector, 2),
        keyword_floor=floor(keyword, 2),
    )

    assert {r.hit.id: r.score for r in ranked} == {"a": 0.58, "b": 0.4, "c": 0.7}
    part = {r.hit.id: r for r in ranked}["c"].parts["vector"]
    assert (part.raw, part.normalised, part.adds) == (None, 0.5, 0.3)


def test_a_whole_list_says_that_the_hits_it_lacks_have_nothing():
    assert floor([hit("a", 0.8), hit("b", 0.5)], 3) == 0
    assert floor([], 0) == floor([], 3) == 0


@given(vector=lists(cosines), keyword=lists(bm25s), weights=weights, depth=st.integers(1, 8))
def test_a_cut_never_counts_a_hit_below_its_score_in_the_whole_lists(
    vector, keyword, weights, depth
):
    vector, keyword = (sorted(hits, key=lambda h: -h.score) for hits in (vector, keyword))
    whole = {r.hit.id: r for r in fuse(vector, keyword, weights)}

    cut = fuse(
        vector[:depth],
        keyword[:depth],
        weights,
        vector_floor=floor(vector[:depth], depth),
        keyword_floor=floor(keyword[:depth], depth),
    )

    for ranked in cut:
        exact = whole[ranked.hit.id]
        for name, part in ranked.parts.items():
            assert part.adds >= exact.parts[name].adds
            assert part.raw is None or part == exact.parts[name]
        assert sum(round(p.adds * 10_000) for p in ranked.parts.values()) == round(
            ranked.score * 10_000
        )


def test_a_mode_shows_its_own_part_only():
    vector = fuse([hit("a", 0.5)], [], weights_for("vector", Weights(0.6, 0.4)))
    keyword = fuse([], [hit("a", 3.0), hit("b", 1.5)], weights_for("keyword", Weights(0.6, 0.4)))

    assert vector[0].score == 0.5
    assert set(vector[0].parts) == {"vector"}
    assert [r.score for r in keyword] == [1.0, 0.5]
    assert set(keyword[0].parts) == {"keyword"}


def test_weights_are_scaled_and_may_not_both_be_nothing():
    assert weights_for("hybrid", Weights(3, 1)).vector == 0.75

    with pytest.raises(ValueError, match="above 0"):
        weights_for("hybrid", Weights(0, 0))


def test_a_negative_or_broken_score_counts_as_nothing():
    ranked = fuse(
        [hit("a", -0.4), hit("b", float("nan"))], [], weights_for("vector", Weights(1, 0))
    )

    assert [r.score for r in ranked] == [0.0, 0.0]


def test_the_best_of_a_chunk_and_of_a_document_is_kept():
    hits = [
        hit("1", 0.9, "x", "k"),
        hit("2", 0.8, "x", "k"),
        hit("3", 0.7, "x", "l"),
        hit("4", 0.6, "y", "k"),
    ]
    ranked = fuse(hits, [], weights_for("vector", Weights(1, 0)))

    assert [r.hit.id for r in best_per_chunk(ranked)] == ["1", "3", "4"]
    assert [r.hit.id for r in best_per_document(ranked)] == ["1", "4"]


# -- texts that repeat -----------------------------------------------------------------------------

FOOTER = "Contact: Acme Ltd, Main Street 1"
ALL = weights_for("vector", Weights(1, 0))


def page(n, score, *, title=None, text=FOOTER, source="docs"):
    """A chunk of page `n`; pages have 5 rows unless `lowered` is told otherwise."""
    title = f"Page {n}" if title is None else title
    return hit(f"{source}{n}{text}", score, f"{source}{n}", title=title, text=text, source=source)


def lowered(hits, rows=5):
    return lower_repeated(fuse(hits, [], ALL), dict.fromkeys({h.doc_key for h in hits}, rows))


def scores(ranked):
    return {(r.hit.doc_key, r.hit.text): r.score for r in ranked}


def test_a_text_on_the_pages_of_a_source_weighs_less_than_the_content_of_one():
    pages = [page(n, 0.8) for n in range(9)]

    ranked = lowered([*pages, page(3, 0.5, text="How to contact us")])

    assert ranked[0].hit.text == "How to contact us"
    assert [r.score for r in ranked] == [0.5] + [0.4] * 9


def test_what_a_repeated_text_loses_is_a_part_of_its_score():
    part = lowered([page(n, 0.8) for n in range(4)])[0].parts["repeated"]

    assert (part.raw, part.normalised, part.weight, part.adds) == (4.0, 0.8, -0.5, -0.4)


def test_repeated_texts_stay_in_their_order_when_nothing_else_is_found():
    ranked = lowered([page(n, n / 10) for n in range(5)])

    assert [r.hit.doc_key for r in ranked] == ["docs4", "docs3", "docs2", "docs1", "docs0"]


def test_blanks_make_no_difference_between_texts():
    texts = (FOOTER, FOOTER.replace(" ", "\n"), f"  {FOOTER}")

    assert {r.score for r in lowered([page(n, 0.8, text=t) for n, t in enumerate(texts)])} == {0.4}


@pytest.mark.parametrize(
    "hits",
    [
        pytest.param([page(n, 0.8) for n in range(2)], id="two pages"),
        pytest.param([page(n, 0.8, title="Guide") for n in range(9)], id="copies and versions"),
        pytest.param([page(n, 0.8, source=f"s{n}") for n in range(9)], id="one of each source"),
        pytest.param([page(n, 0.8, text=f"own {n}") for n in range(9)], id="other texts"),
    ],
)
def test_texts_that_are_no_part_of_every_page_keep_their_score(hits):
    ranked = lowered(hits)

    assert {r.score for r in ranked} == {0.8}
    assert all("repeated" not in r.parts for r in ranked)


def test_a_document_all_of_whose_rows_repeat_is_a_copy_and_keeps_its_score():
    hits = [page(n, 0.8, text=text) for n in range(4) for text in ("one", "two")]

    assert set(scores(lowered(hits, rows=2)).values()) == {0.8}
    assert set(scores(lowered(hits, rows=3)).values()) == {0.4}


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from("xyz"), st.floats(-1, 1), st.floats(0.01, 9)),
        max_size=30,
    ),
    weights,
)
def test_the_parts_sum_to_the_score_of_repeated_texts_too(found, weights):
    vector = [page(n, cosine, text=text) for n, text, cosine, _ in found]
    keyword = [page(n, bm25, text=text) for n, text, _, bm25 in found]
    fused = best_per_chunk(fuse(vector, keyword, weights))
    before = scores(fused)

    ranked = lower_repeated(fused, {h.doc_key: 2 for h in vector})

    assert scores(ranked).keys() == before.keys()
    assert [r.score for r in ranked] == sorted((r.score for r in ranked), reverse=True)
    for one in ranked:
        shown = [Decimal(str(part.adds)) for part in one.parts.values()]
        assert sum(shown) == Decimal(str(one.score))
        assert 0 <= one.score <= before[one.hit.doc_key, one.hit.text]
