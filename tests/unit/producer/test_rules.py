"""Which files are documents."""

import contextlib
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.producer.sources.folder.rules import Rules, glob_to_regex, is_ignored
from shared.domain.errors import ConfigurationError


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("*.md", ["a.md", "é.md"], ["d/a.md", "a.mdx", "a.md/b"]),
        ("**/*.md", ["a.md", "d/a.md", "d/e/a.md"], ["a.txt"]),
        ("docs/**", ["docs/a", "docs/b/c"], ["docs", "adocs/a"]),
        ("a/**/b.md", ["a/b.md", "a/x/y/b.md"], ["ab.md", "a/xb.md"]),
        ("**", ["a", "a/b"], []),
        ("?.md", ["a.md"], ["ab.md", "/.md"]),
        ("[ab].md", ["a.md", "b.md"], ["c.md"]),
        ("[!ab].md", ["c.md"], ["a.md"]),
        ("[[].md", ["[.md"], ["a.md"]),
        ("a.b+(c)", ["a.b+(c)"], ["aXb+(c)", "a.bb(c)"]),
        ("[", ["["], ["a"]),
    ],
)
def test_globs(pattern, matching, other):
    regex = re.compile(glob_to_regex(pattern), re.DOTALL)

    assert [p for p in matching if not regex.fullmatch(p)] == []
    assert [p for p in other if regex.fullmatch(p)] == []


def plain_regex(pattern):
    """What a glob means, without any care for time: names are short here."""
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.findall(r"\*\*/|\*\*|.", pattern)
    return re.compile("".join(meaning.get(one, re.escape(one)) for one in tokens), re.DOTALL)


@given(
    st.lists(st.sampled_from(["a", "b", "/", "*", "**", "**/", "?", "a/"]), max_size=8),
    st.lists(st.text("ab/", max_size=10), min_size=10, max_size=10),
)
def test_a_glob_means_the_same_however_it_is_matched(tokens, paths):
    pattern = "".join(tokens)
    regex, plain = re.compile(glob_to_regex(pattern), re.DOTALL), plain_regex(pattern)

    assert [bool(regex.fullmatch(p)) for p in paths] == [bool(plain.fullmatch(p)) for p in paths]


def test_a_set_is_one_character_of_a_name():
    regex = re.compile(glob_to_regex("a[!b]c"), re.DOTALL)

    assert regex.fullmatch("axc")
    assert not regex.fullmatch("a/c")


@example("[?--]")
@example("[---]")
@given(st.text("ab*?[]!/.\\^-&~|", max_size=12))
def test_any_text_is_a_glob_or_an_error_of_the_settings(pattern):
    with contextlib.suppress(ConfigurationError):
        Rules([pattern], [pattern]).wants("a.md")


@pytest.mark.parametrize(
    "name",
    [".hidden", ".#a.md", "#a.md#", "a.md~", ".a.md.swp", "a.swp", "4913", "a.tmp", "~$a.docx",
     ".DS_Store", "Thumbs.db", "a.md.crdownload", "a.md___jb_tmp___"],
)  # fmt: skip
def test_what_editors_and_systems_leave_is_ignored(name):
    assert is_ignored(name)


@pytest.mark.parametrize("name", ["a.md", "4913.md", "swp", "tmp.md", "a#b.md", "lock.md"])
def test_ordinary_names_are_not_ignored(name):
    assert not is_ignored(name)


def test_without_globs_every_known_format_is_a_document():
    rules = Rules()

    assert [p for p in ("a.md", "d/B.HTML", "c.txt", "x.png", "x", ".git/a.md", "d/.x/a.md")
            if rules.wants(p)] == ["a.md", "d/B.HTML", "c.txt"]  # fmt: skip


def test_exclude_wins_and_closes_whole_folders():
    rules = Rules(["**/*.md"], ["drafts/**", "**/old.md"])

    assert rules.wants("a.md")
    assert not rules.wants("drafts/a.md")
    assert not rules.wants("x/old.md")
    assert not rules.enters("drafts")
    assert rules.enters("drafts2")
