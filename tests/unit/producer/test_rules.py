"""Which files are documents."""

import contextlib
import os
import re
import shutil
import subprocess
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.producer.sources.patterns import Patterns, parse, parse_lines
from services.producer.sources.rules import Rules, is_ignored
from shared.domain.errors import ConfigurationError

GIT = shutil.which("git")


def matches(pattern, path):
    """Whether a pattern of the settings is about this very file."""
    return Patterns([parse(pattern, lenient=True)]).decide(path, folder=False) is not None


def wants(rules, path):
    """Whether a listing comes to the file, and takes it."""
    parts = path.split("/")
    folders = ["/".join(parts[:n]) for n in range(1, len(parts))]
    closed = any(map(is_ignored, parts)) or any(rules.why_not_folder(one, ()) for one in folders)
    return not closed and rules.why_not_file(path, ()) is None


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("*.md", ["a.md", "é.md", "d/a.md"], ["a.mdx", "a.md/b"]),
        ("/*.md", ["a.md"], ["d/a.md"]),
        ("**/*.md", ["a.md", "d/a.md", "d/e/a.md"], ["a.txt"]),
        ("docs/*.md", ["docs/a.md"], ["docs/d/a.md", "x/docs/a.md"]),
        ("docs/**", ["docs/a", "docs/b/c"], ["docs", "adocs/a"]),
        ("docs/**.md", ["docs/a.md", "docs/b/c.md"], ["docs/a.txt"]),
        ("docs/**/draft-*", ["docs/draft-1", "docs/a/b/draft-2"], ["docs/a/my-draft-1"]),
        ("a/**/b.md", ["a/b.md", "a/x/y/b.md"], ["ab.md", "a/xb.md"]),
        ("**", ["a", "a/b"], []),
        ("?.md", ["a.md", "d/a.md"], ["ab.md"]),
        ("[ab].md", ["a.md", "b.md"], ["c.md"]),
        ("[!ab].md", ["c.md"], ["a.md"]),
        ("[^ab].md", ["c.md"], ["a.md"]),
        ("[[].md", ["[.md"], ["a.md"]),
        ("[[:digit:]-].md", ["7.md", "-.md"], ["a.md"]),
        ("a.b+(c)", ["a.b+(c)"], ["aXb+(c)", "a.bb(c)"]),
        (r"\!a", ["!a"], ["a"]),
        ("build/", [], ["build"]),
    ],
)
def test_patterns(pattern, matching, other):
    assert [p for p in matching if not matches(pattern, p)] == []
    assert [p for p in other if matches(pattern, p)] == []


@pytest.mark.parametrize("pattern", ["[", "a[b", "[[:nosuch:]]", "a\\", "", "/", "# a", "!"])
def test_a_pattern_that_can_match_nothing_is_an_error_of_the_settings(pattern):
    assert parse(pattern) is None
    with pytest.raises(ConfigurationError, match="can match nothing"):
        Rules([pattern])


def plain_regex(pattern):
    """The meaning of a pattern, without any care for time: names are short here."""
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.findall(r"\*\*/|\*\*|.", pattern)
    return re.compile("".join(meaning.get(one, re.escape(one)) for one in tokens), re.DOTALL)


@given(
    st.lists(st.sampled_from(["a", "b", "/", "*", "/**/", "?", "a/", "a*"]), max_size=8),
    st.lists(st.text("ab/", max_size=10), min_size=10, max_size=10),
)
def test_a_pattern_means_the_same_however_it_is_matched(tokens, paths):
    pattern = re.sub("/+", "/", "/" + "".join(tokens)).rstrip("/")
    pattern = re.sub(r"(?<=[^/])\*\*+|\*\*+(?=[^/])", "*", pattern)
    if (one := parse(pattern)) is None:
        return
    fast, plain = re.compile(one.regex, re.DOTALL), plain_regex(pattern[1:])

    assert [bool(fast.fullmatch(p)) for p in paths] == [bool(plain.fullmatch(p)) for p in paths]


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with files whose names patterns are likely to match, or just not to."""
    root = tmp_path_factory.mktemp("repository")
    names = ["a", "b", "ab", "b a", "#a", "!b", "]", "A", "a*"]
    for first in names:
        for second in names:
            (root / "d" / first).mkdir(parents=True, exist_ok=True)
            (root / "d" / first / second).write_text("x")
            (root / "e").mkdir(exist_ok=True)
            (root / "e" / f"{first}{second}").write_text("x")
        (root / first).mkdir(exist_ok=True)
        (root / first / "a").write_text("x")
    subprocess.run([str(GIT), "init", "-q", str(root)], check=True)
    return root


def ignored_by_git(root, files):
    """The files that git ignores, asked of git itself."""
    asked = [str(GIT), "-C", str(root), "check-ignore", "--no-index", "-z", "--stdin"]
    found = subprocess.run(asked, input="\0".join(files).encode(), capture_output=True, check=False)
    return set(found.stdout.decode().split("\0")) - {""}


def ignored(patterns, path):
    parts = path.split("/")
    for n in range(1, len(parts) + 1):
        one = patterns.decide("/".join(parts[:n]), folder=n < len(parts))
        if one is not None and not one.negated:
            return True
    return False


PIECES = st.sampled_from(
    ["a", "b", "d", "A", "/", "*", "?", "[ab]", "[!a]", "[^b]", "[a-c]", "[c-a]", "[[:alpha:]]",
     "[]a]", "[\\]]", "\\a", "\\*", " ", "\\ ", "!", "#", "[", "]", "/**/", "/**", "\\", "\r"]
)  # fmt: skip
LINES = st.lists(PIECES, min_size=1, max_size=5).map("".join)


@pytest.mark.skipif(GIT is None and "CI" not in os.environ, reason="git is not installed")
@settings(max_examples=150)
@example(["**/a"])
@example(["d/", "!d/a"])
@example(["*", "!*/", "!a"])
@example(["a/**", "!a/a", "\ufeffb"])
@given(st.lists(LINES, min_size=1, max_size=4))
def test_an_ignore_file_leaves_out_the_files_that_git_ignores(repository, lines):
    text = "\n".join(lines) + "\n"
    (repository / ".gitignore").write_bytes(text.encode())
    files = [p.relative_to(repository).as_posix() for p in repository.rglob("*") if p.is_file()]
    files = [p for p in files if not p.startswith(".git")]
    patterns = Patterns(parse_lines(text))

    assert {p for p in files if ignored(patterns, p)} == ignored_by_git(repository, files)


def test_a_set_is_one_character_of_a_name():
    assert matches("a[!b]c", "axc")
    assert not matches("/a[!b]c", "a/c")


def test_a_pattern_and_a_name_are_compared_in_one_unicode_form():
    assert matches(unicodedata.normalize("NFD", "é.md"), unicodedata.normalize("NFC", "é.md"))


@example("[?--]")
@example("[---]")
@given(st.text("ab*?[]!/.\\^-&~|:# ", max_size=12))
def test_any_text_is_a_pattern_or_an_error_of_the_settings(pattern):
    with contextlib.suppress(ConfigurationError):
        wants(Rules([pattern], [pattern]), "a.md")


@given(st.text(max_size=60))
def test_any_text_is_an_ignore_file(text):
    Patterns(parse_lines(text)).decide("a/b.md", folder=False)


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
            if wants(rules, p)] == ["a.md", "d/B.HTML", "c.txt"]  # fmt: skip


def test_exclude_wins_and_closes_whole_folders():
    rules = Rules(["**/*.md"], ["drafts/**", "**/old.md"])

    assert wants(rules, "a.md")
    assert not wants(rules, "drafts/a.md")
    assert not wants(rules, "x/old.md")
    assert rules.why_not_folder("drafts", ())
    assert not rules.why_not_folder("drafts2", ())


@pytest.mark.parametrize(
    ("include", "wanted"),
    [
        (["*.md"], ["a.md", "x/a.md"]),
        (["/*.md"], ["a.md"]),
        (["x/"], ["x/a.md", "x/b.log"]),
        (["x/", "!*.log"], ["x/a.md"]),
        (["*", "!x/"], ["a.md", "b.log"]),
        (["node_modules"], ["a.md", "x/a.md", "node_modules/a.md"]),
        (["node_modules/", "*.log"], ["b.log", "x/b.log"]),
        (["node_modules/*.md"], ["node_modules/a.md"]),
        ([], ["a.md", "x/a.md"]),
    ],
)
def test_include_selects_files_and_brings_back_what_is_left_out_by_default(include, wanted):
    rules = Rules(include)
    files = ["a.md", "b.log", "x/a.md", "x/b.log", "node_modules/a.md"]

    assert [path for path in files if wants(rules, path)] == wanted


@pytest.mark.parametrize(
    ("path", "folder"),
    [("x/node_modules", True), ("__pycache__", True), ("x/page.min.js", False),
     ("package-lock.json", False)],
)  # fmt: skip
def test_what_tools_write_is_left_out_by_default_and_says_so(path, folder):
    named = path.rpartition("/")[2]
    plain, chosen = Rules(["*.js", "*.json"]), Rules(["*.js", "*.json", named])
    ask = [one.why_not_folder if folder else one.why_not_file for one in (plain, chosen)]

    why = ask[0](path, ())

    assert why is not None
    assert why.kind == "left out by default"
    if folder or named == "package-lock.json":
        assert ask[1](path, ()) is None


def test_folders_that_may_hold_documents_are_not_left_out_by_their_names():
    rules = Rules()

    assert [n for n in ("build", "dist", "target", "vendor", "docs", "out", "tmp")
            if rules.why_not_folder(n, ())] == []  # fmt: skip


def test_the_last_pattern_of_exclude_decides():
    rules = Rules(exclude=["*.md", "!keep.md"])

    assert [p for p in ("a.md", "keep.md", "x/keep.md") if wants(rules, p)] == [
        "keep.md",
        "x/keep.md",
    ]


def test_patterns_that_have_matched_nothing_are_known():
    rules = Rules(["*.md", "*.rst"], ["drafts/**", "**/node_modules/**", "*.old.md", "nosuch"])

    for path in ("a.md", "b.old.md"):
        rules.why_not_file(path, ())
    for folder in ("drafts", "x/node_modules"):
        rules.why_not_folder(folder, ())

    assert rules.unused == ["*.rst", "nosuch"]
