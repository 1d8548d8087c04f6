import json
import re
from contextlib import suppress

import pytest
from filter_cases import LEAVES, METADATA, TEXTS
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.problems import Problem
from services.gateway.search.comparisons import DEEPEST, MOST_PARTS
from services.gateway.search.filters import Condition, parse
from shared.domain.filters.kinds import KINDS
from shared.domain.filters.where import AllOf, AnyOf, BelowPath, InSources, NoneOf
from shared.ports import Filter

FIELDS = {
    "lang": "keyword",
    "tags": "keywords",
    "price": "number",
    "created_at": "date",
    "draft": "boolean",
}
sources = st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True)
values = st.text(
    st.characters(exclude_characters='"', exclude_categories=("Cs", "Cc")), min_size=1, max_size=12
)


def admitted(given, **metadata):
    return parse(given, (), FIELDS).admits("docs", "guide/start.md", metadata)


def test_one_source_and_one_prefix_are_asked_for_by_themselves():
    condition = parse("source:docs path:guide/")

    assert condition.where() == Filter(sources=("docs",), path_prefix="guide/")


def test_terms_of_one_name_are_alternatives_and_minus_excludes():
    condition = parse('path:a/ path:b/ -path:b/old -source:wiki path:"my notes/"')

    assert condition.where() == Filter(where=condition.expression)
    assert condition.admits("docs", "a/x.md", {})
    assert condition.admits("docs", "my notes/x.md", {})
    assert not condition.admits("docs", "b/old/x.md", {})
    assert not condition.admits("wiki", "a/x.md", {})
    assert not condition.admits("docs", "c/x.md", {})


def test_sources_of_an_option_join_those_of_the_filter():
    condition = parse("source:docs path:a/", ("wiki",))

    assert condition.where() == Filter(sources=("wiki", "docs"), path_prefix="a/")


@pytest.mark.parametrize(
    "given",
    ["source:docs or path:a/", '{"field": "source", "in": ["docs"]}', "-source:docs", "path:a/"],
)
def test_any_other_filter_holds_within_the_sources_of_an_option(given):
    condition = parse(given, ("wiki",))

    assert not condition.admits("docs", "a/x.md", {})
    assert condition.where().sources in ((), ("wiki",))


@given(one=LEAVES, other=LEAVES, metadata=METADATA, sign=st.booleans())
def test_nothing_that_is_asked_for_widens_the_sources_within_which_it_is_asked(
    one, other, metadata, sign
):
    asked = AnyOf((one, NoneOf(other) if sign else other))
    for expression in (asked, NoneOf(asked), AllOf((InSources(("docs", "wiki")), asked)), None):
        inside = Condition(expression).within({"wiki"})
        assert not inside.admits("docs", "a/b.md", metadata)
        assert set(inside.where().sources) <= {"wiki"}
        assert inside.admits("wiki", "a/b.md", metadata) == Condition(expression).admits(
            "wiki", "a/b.md", metadata
        )


@pytest.mark.parametrize("given", ["", "  ", {}, "{}"])
def test_nothing_restricts_nothing(given):
    assert parse(given).where() == Filter()
    assert parse(given).admits("any", "thing", {})


@pytest.mark.parametrize(
    ("given", "passing", "others"),
    [
        ("lang:en lang:de", [{"lang": "en"}, {"lang": "de"}], [{"lang": "fr"}, {}]),
        ("-lang:en", [{"lang": "de"}, {}], [{"lang": "en"}]),
        ("lang:*", [{"lang": "*"}, {"lang": 5}], [{}, {"lang": None}]),
        ('lang:"*"', [{"lang": "*"}], [{"lang": "en"}]),
        ('lang:"e\u0301"', [{"lang": "\u00e9"}], [{"lang": "e"}]),
        ("tags:nats", [{"tags": "nats, go"}], [{"tags": "natsx"}, {"tags": "a nats"}]),
        ("price>5 price<=7", [{"price": 7}, {"price": "5.01"}], [{"price": 5}, {"price": 7.1}, {}]),
        ("price:5 price=6", [{"price": 5.0}, {"price": 6}], [{"price": 7}]),
        ("-price>=5", [{"price": 4}, {}, {"price": "much"}], [{"price": 5}]),
        ("created_at:2026-01-31", [{"created_at": "2026-01-31T23:59:59Z"}], [{"created_at": ""}]),
        ("created_at<=2026-01-31", [{"created_at": "2026-01-31T23:59Z"}], [{}]),
        ("created_at>2026-01-31", [{"created_at": "2026-02-01"}], [{"created_at": "2026-01-31"}]),
        (
            "created_at>=2026-01-31T12:00:00+02:00",
            [{"created_at": "2026-01-31T10:00:00Z"}],
            [{"created_at": "2026-01-31T09:59:59Z"}],
        ),
        ("draft", [{"draft": True}, {"draft": "TRUE"}, {"draft": 1}], [{"draft": False}, {}]),
        ("-draft", [{"draft": False}, {}], [{"draft": True}]),
        ("draft:false", [{"draft": False}], [{}, {"draft": True}]),
        (
            "(lang:en or tags:nats) -draft",
            [{"lang": "en"}, {"tags": "nats", "draft": False}],
            [{"lang": "de"}, {"lang": "en", "draft": True}],
        ),
        (
            "lang:en price:1 or lang:de",
            [{"lang": "de"}, {"lang": "en", "price": 1}],
            [{"price": 1}],
        ),
        ("-(lang:en or lang:de)", [{}, {"lang": "fr"}], [{"lang": "de"}]),
        ("lang:en AND lang:de", [{"lang": "en"}], [{}]),
        ("lang:a(b)c", [{"lang": "a(b)c"}], [{"lang": "a"}]),
        ("(lang:a(b))", [{"lang": "a(b)"}], [{"lang": "a(b"}]),
        ("lang:or", [{"lang": "or"}], [{}]),
        ("source:docs path:guide/ lang:a:b", [{"lang": "a:b"}], [{"lang": "a"}]),
        (
            {
                "all": [
                    {"field": "price", "gte": 1, "lt": 2},
                    {"not": {"field": "draft", "in": [True]}},
                ]
            },
            [{"price": 1}],
            [{"price": 2}, {"price": 1, "draft": True}],
        ),
        ({"any": []}, [], [{}]),
        ({"all": []}, [{}], []),
        ({"field": "lang", "exists": False}, [{}], [{"lang": "en"}]),
        ({"field": "path", "prefix": ["x", "guide/"]}, [{}], []),
        ({"field": "lang", "in": ["5", True, 7]}, [{"lang": 5}, {"lang": "true"}], [{"lang": "6"}]),
    ],
)
def test_a_filter_admits_what_it_says(given, passing, others):
    as_text = given if isinstance(given, str) else json.dumps(given)
    for written in (given, as_text):
        assert [metadata for metadata in passing if not admitted(written, **metadata)] == []
        assert [metadata for metadata in others if admitted(written, **metadata)] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-unknown", "write source:NAME"),
        ("sorce:docs", "did you mean source?"),
        ("pth:a", "did you mean path?"),
        ("langs:en", "did you mean lang?"),
        ("colour:en", "'colour' is not a field to filter by; fields are source, path, created_at"),
        ('path:"a', "never closed (at character 6)"),
        ("lang:en price>cheap", "price is a number, and 'cheap' is none (at character 9)"),
        ("created_at>soon", "created_at is a date, and 'soon' is none"),
        ("draft:maybe", "draft is a boolean, and 'maybe' is neither true nor false"),
        ("lang>en", "lang is a keyword; < and > compare numbers and dates"),
        ("source>a", "source is compared by in only"),
        ("path<a", "path is compared by prefix only"),
        ("lang: x", "lang: has no value"),
        ("(lang:en", "a ( is never closed (at character 1)"),
        ("lang:en )", "a ) has no ( before it (at character 9)"),
        ("lang:en or", "something is missing beside"),
        ("()", "something is missing beside"),
        ("(" * (DEEPEST + 2), "parentheses are open"),
        ("lang:a " * (MOST_PARTS + 1), "terms"),
        ("{", "is not JSON"),
    ],
)
def test_what_is_no_filter_is_refused_with_what_was_meant(text, said):
    with pytest.raises(Problem, match=re.escape(said)) as refused:
        parse(text, (), FIELDS)

    assert refused.value.code == "invalid_filter"


def test_a_filter_of_more_terms_than_a_store_compares_in_time_is_refused():
    ranges = [{"field": "price", "gt": n + 0.1, "lt": n + 0.7} for n in range(40)]

    with pytest.raises(Problem, match=r"terms for the store, and may have 2,000") as refused:
        parse({"any": ranges}, (), FIELDS)
    assert refused.value.code == "invalid_filter"
    assert parse({"any": ranges[:5]}, (), FIELDS).expression is not None
    assert parse({"any": [{"field": "price", "in": list(range(150))}]}, (), FIELDS).expression


def test_a_field_that_is_not_declared_is_told_with_how_to_declare_it():
    with pytest.raises(Problem) as refused:
        parse("colour:red", (), FIELDS)

    assert 'colour = "keyword" below [sources.NAME.fields]' in refused.value.fix


@pytest.mark.parametrize(
    ("given", "at", "said"),
    [
        ([], "/filter", "a filter is an object"),
        ({"al": []}, "/filter", "did you mean 'all'?"),
        ({"all": [{}, {"any": {}}]}, "/filter/all/0", "an object has a field"),
        ({"all": [{"any": {}}]}, "/filter/all/0/any", "any has a list"),
        ({"field": "price"}, "/filter", "a comparison has one of in, lt"),
        ({"field": "price", "gtt": 1}, "/filter", "did you mean 'gt'"),
        ({"not": {"field": "price", "gt": "x"}}, "/filter/not/gt", "price is a number"),
        ({"field": "price", "in": 5}, "/filter/in", "in has a list of values"),
        ({"field": "price", "in": [[]]}, "/filter/in", "a value is a text"),
        ({"field": "price", "gt": None}, "/filter/gt", "price is a number, and None is none"),
        ({"field": "lang", "in": [None]}, "/filter/in", "neither a text nor a number"),
        ({"field": "created_at", "gt": 5}, "/filter/gt", "created_at is a date, and '5' is none"),
        ({"field": "lang", "exists": 1}, "/filter/exists", "exists is true or false"),
        ({"field": "lang", "prefix": "e"}, "/filter/prefix", "prefix is for path"),
        ({"field": "source", "in": [5]}, "/filter/in", "source is a text"),
        ({"field": 5, "in": []}, "/filter/field", "field is the name"),
        ({"field": "langg", "in": ["en"]}, "/filter/in", "did you mean lang?"),
        ({"field": "lang", "in": ["a"] * 201}, "/filter", "more than 200 values"),
    ],
)
def test_a_fault_of_json_has_its_place(given, at, said):
    with pytest.raises(Problem, match=re.escape(said)) as refused:
        parse(given or {"all": given} if given != [] else '{"all": [[]]}', (), FIELDS)

    assert refused.value.code == "invalid_filter"
    if given != []:
        assert [fault.at for fault in refused.value.faults] == [at]


def test_json_within_itself_ends():
    inner = {"field": "lang", "exists": True}
    for _ in range(DEEPEST + 1):
        inner = {"not": inner}

    with pytest.raises(Problem, match="within each other"):
        parse(inner, (), FIELDS)
    with pytest.raises(Problem, match="within each other"):
        parse('{"not":' * 50 + "{}" + "}" * 50, (), FIELDS)


@given(source=sources, prefix=values, negative=st.booleans())
def test_what_is_written_is_read_back(source, prefix, negative):
    sign = "-" if negative else ""
    condition = parse(f'source:{source} {sign}path:"{prefix}"')

    below = BelowPath(prefix)
    assert condition.expression == AllOf(
        (InSources((source,)), NoneOf(below) if negative else below)
    )
    assert condition.sources == (source,)
    assert condition.admits(source, prefix + "x", {}) is not negative


@given(value=values | st.sampled_from([text for text in TEXTS if '"' not in text]))
def test_a_quoted_value_is_that_value(value):
    assert admitted(f'lang:"{value}"', lang=value)
    assert admitted({"field": "lang", "in": [value]}, lang=value)


ODD = st.text(max_size=40) | st.lists(
    st.sampled_from(
        [
            *'():<>="-* \t\u3000',
            "or",
            "and",
            "lang:",
            "price>",
            "5",
            "draft",
            "path:a",
            "{",
            "\ud800",
        ]
    ),
    max_size=20,
).map("".join)
ODD_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["all", "any", "not", "field", "in", "gt", "exists", "prefix", "x"])
            | st.text(max_size=3),
            inner | st.sampled_from([*FIELDS, "source", "path"]),
            max_size=3,
        )
    ),
)


@given(given=ODD | st.dictionaries(st.sampled_from(["all", "any", "not", "field"]), ODD_JSON))
def test_odd_input_is_read_or_refused_never_a_crash(given):
    with suppress(Problem):
        assert isinstance(parse(given, (), FIELDS), Condition)


def test_every_kind_can_be_asked_for():
    assert set(FIELDS.values()) == set(KINDS)
