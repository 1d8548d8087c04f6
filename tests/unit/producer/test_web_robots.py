"""What robots.txt and noindex ask, as RFC 9309 reads them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.producer.sources.web import noindex, robots
from services.producer.sources.web.robots import matches, parse


def allowed(text, path):
    return parse(text.encode()).allows(f"http://h.org{path}")


@pytest.mark.parametrize(
    ("rules", "path", "expected"),
    [
        ("Disallow: /", "/a", False),
        ("Disallow:", "/a", True),
        ("Disallow: /private/", "/private", True),
        ("Disallow: /private/", "/private/a", False),
        ("Disallow: /\nAllow: /docs", "/docs/a", True),
        ("Allow: /docs\nDisallow: /", "/docs/a", True),
        ("Disallow: /a\nAllow: /a", "/a", True),
        ("Disallow: /*.pdf$", "/x/a.pdf", False),
        ("Disallow: /*.pdf$", "/x/a.pdf?x", True),
        ("Disallow: /a*b*c", "/axxbyyczz", False),
        ("Disallow: /a*b*c", "/axxcyyb", True),
        ("Disallow: *?print=", "/a?print=1", False),
        ("Disallow: /a?", "/a", True),
        ("Disallow: /%7Ejoe/", "/~joe/a", False),
        ("Disallow: /ü", "/%C3%BC", False),
        ("Disallow: /a%2Fb", "/a/b", True),
        ("Disallow: /  # all", "/a", False),
        ("Disallow: /", "/robots.txt", True),
        ("disALLOW : /", "/a", False),
        ("Noise: x\nDisallow /\nDisallow: /b", "/a", True),
    ],
)
def test_the_longest_rule_that_matches_decides(rules, path, expected):
    assert allowed(f"User-agent: *\n{rules}", path) is expected


def test_a_group_that_names_this_program_counts_in_place_of_that_for_all():
    text = "User-agent: *\nDisallow: /\n\nUser-Agent: Instep/2.0\nDisallow: /own\n"

    assert allowed(text, "/a")
    assert not allowed(text, "/own")


def test_groups_of_one_name_are_one_and_a_group_may_have_many_names():
    text = (
        "User-agent: instep\nDisallow: /a\n\nUser-agent: x\nUser-agent: instep\nDisallow: /b\n"
        "User-agent: instepper\nDisallow: /c\n"
    )

    assert [allowed(text, path) for path in ("/a", "/b", "/c")] == [False, False, True]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("2", 2.0), ("0.5", 0.5), ("9999", 30.0), ("-1", 0), ("nan", 0), ("x", 0), ("inf", 30.0)],
)
def test_a_crawl_delay_is_kept_within_its_bound(value, expected):
    assert parse(f"User-agent: *\nCrawl-delay: {value}".encode()).delay_s == expected


@given(st.text("ab*$/", max_size=8), st.text("ab/$", max_size=10))
def test_patterns_match_as_the_same_regular_expressions_do(pattern, path):
    inner = pattern.removesuffix("$")
    expression = ".*".join(map(re.escape, inner.split("*")))
    expected = re.match(expression + (r"\Z" if pattern.endswith("$") else ""), path)

    assert matches(pattern, path) == bool(expected)


@given(st.binary(max_size=300))
def test_any_bytes_are_rules_or_none(data):
    parse(b"User-agent: *\n" + data).allows("http://h.org/a")


def test_rules_after_the_limit_do_not_count():
    text = b"User-agent: *\nDisallow: /a\n" + b"#" * robots.MAX_BYTES + b"\nDisallow: /b\n"

    assert not parse(text).allows("http://h.org/a")
    assert parse(text).allows("http://h.org/b")


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ('<meta name="robots" content="noindex">', True),
        ("<META content='nofollow, NOINDEX' NAME=robots>", True),
        ('<meta name="robots" content="none"/>', True),
        ('<meta name="instep" content="noindex">', True),
        ('<meta name="googlebot" content="noindex"><p>robots', False),
        ('<meta name="robots" content="index, follow">', False),
        ('<!-- <meta name="robots" content="noindex"> -->', False),
        ("<p>robots noindex</p>", False),
    ],
)
def test_a_page_may_ask_to_be_left_out(page, expected):
    assert noindex.by_page(page.encode()) is expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["noindex"], True),
        (["nofollow, none"], True),
        (["googlebot: noindex"], False),
        (["instep: noindex"], True),
        (["index", "NOINDEX"], True),
        (["unavailable_after: 25 Jun 2010"], False),
        ([], False),
    ],
)
def test_a_header_may_ask_it_too(values, expected):
    assert noindex.by_header(values) is expected
