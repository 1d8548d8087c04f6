import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.problems import Problem
from services.gateway.search.filters import Condition, parse
from shared.ports import Filter

sources = st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True)
prefixes = st.text(
    st.characters(exclude_characters='"', exclude_categories=("Cs", "Cc")), min_size=1, max_size=12
).filter(lambda text: text == text.strip())


def test_one_source_and_one_prefix_are_decided_by_the_store():
    condition = parse("source:docs path:guide/")

    assert condition.where() == Filter(sources=("docs",), path_prefix="guide/")
    assert not condition.beyond_store


def test_terms_of_one_name_are_alternatives_and_minus_excludes():
    condition = parse('path:a/ path:b/ -path:b/old -source:wiki path:"my notes/"')

    assert condition.beyond_store
    assert condition.where() == Filter()
    assert condition.admits("docs", "a/x.md")
    assert condition.admits("docs", "my notes/x.md")
    assert not condition.admits("docs", "b/old/x.md")
    assert not condition.admits("wiki", "a/x.md")
    assert not condition.admits("docs", "c/x.md")


def test_sources_of_an_option_join_those_of_the_filter():
    assert parse("source:docs", ("wiki",)).where() == Filter(sources=("wiki", "docs"))


def test_nothing_restricts_nothing():
    assert parse("  ").where() == Filter()
    assert parse("").admits("any", "thing")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("draft", "write source:NAME"),
        ("-draft", "write source:NAME"),
        ("sorce:docs", "did you mean source:docs?"),
        ("pth:a", "did you mean path:a?"),
        ("lang:en", "'lang' is not a field to filter by"),
        ('path:"a', "never closed"),
    ],
)
def test_what_is_no_filter_is_refused_with_what_was_meant(text, said):
    with pytest.raises(Problem, match=re.escape(said)) as refused:
        parse(text)

    assert refused.value.code == "invalid_filter"


@given(source=sources, prefix=prefixes, negative=st.booleans())
def test_what_is_written_is_read_back(source, prefix, negative):
    sign = "-" if negative else ""
    condition = parse(f'source:{source} {sign}path:"{prefix}"')

    assert condition.sources == (source,)
    assert (condition.not_prefixes if negative else condition.prefixes) == (prefix,)
    assert condition.admits(source, prefix + "x") is not negative


@given(text=st.text(max_size=40))
def test_odd_input_is_read_or_refused_never_a_crash(text):
    with suppress(Problem):
        assert isinstance(parse(text), Condition)
