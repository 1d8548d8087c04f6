"""What retrievers of frameworks ask, and keep of a hit."""

import pytest

from instep.retrieval import combined, compared, metadata_of, search_fields
from services.gateway.views import HitChunk, HitDocument, HitView

LANGUAGE = {"field": "language", "in": ["en"]}


def test_what_is_not_given_is_left_to_the_gateway():
    assert search_fields(3) == {"limit": 3, "group_by": "chunk"}
    assert search_fields(
        3, mode="vector", filter="path:a/", source=("docs",), group_by="content"
    ) == {
        "limit": 3,
        "mode": "vector",
        "filter": "path:a/",
        "source": ["docs"],
        "group_by": "content",
    }


@pytest.mark.parametrize(
    ("operator", "value", "filter"),
    [
        ("==", "en", LANGUAGE),
        ("!=", "en", {"not": LANGUAGE}),
        ("in", ("en",), LANGUAGE),
        ("not in", ["en"], {"not": LANGUAGE}),
        (">", 1, {"field": "language", "gt": 1}),
        ("<=", 1, {"field": "language", "lte": 1}),
    ],
)
def test_a_comparison_of_a_framework_is_one_of_a_filter(operator, value, filter):
    assert compared("language", operator, value) == filter


def test_comparisons_are_combined_as_a_filter_has_it():
    one, other = compared("a", "==", 1), compared("b", "==", 2)

    assert combined("AND", [one, other]) == {"all": [one, other]}
    assert combined("or", [one]) == {"any": [one]}
    assert combined("NOT", [one, other]) == {"not": {"all": [one, other]}}
    assert combined("and", []) == {}


@pytest.mark.parametrize("word", ["xor", ""])
def test_what_filters_cannot_say_is_refused(word):
    with pytest.raises(ValueError, match="and, or, not"):
        combined(word, [LANGUAGE])
    with pytest.raises(ValueError, match="not in"):
        compared("a", word, 1)


def test_a_passage_keeps_where_it_stands():
    document = HitDocument(
        source="docs",
        path="a.md",
        doc_key="k",
        title="A",
        state="searchable",
        stale=True,
        revision=7,
    )
    chunk = HitChunk(id="c", n=2, heading=("A", "B"), text="secret")

    assert metadata_of(HitView(document=document, chunk=chunk, score=0.5)) == {
        "source": "docs",
        "path": "a.md",
        "title": "A",
        "heading": ["A", "B"],
        "chunk": 2,
        "revision": 7,
        "score": 0.5,
        "stale": True,
    }
