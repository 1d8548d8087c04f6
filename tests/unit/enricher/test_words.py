"""No word that a person sees in Markdown or plain text is lost when the document is read.

What the manual leaves out by design: see `examples/docs/reference/limits.md`.
"""

import sysconfig
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from words import seen_in_markdown, words_lost
from words import words as words_of

from services.enricher.chunking.chunk import chunk
from shared.settings import Chunking

ROOT = Path(__file__).parents[3]
PACKAGES = Path(sysconfig.get_path("purelib"))
OF_THIS_REPOSITORY = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")}
)
OF_PACKAGES = sorted(PACKAGES.glob("**/*.md"))


def lost(text, format_="markdown"):
    return dict(words_lost(format_, text.encode()))


# -- real files ------------------------------------------------------------------------------------


def test_no_word_of_the_markdown_of_this_repository_is_lost():
    found = {str(path): lost(path.read_text()) for path in OF_THIS_REPOSITORY}

    assert len(found) > 10
    assert {path: gone for path, gone in found.items() if gone} == {}


def test_no_word_of_the_markdown_of_this_repository_is_lost_in_chunks(words):
    found = {
        str(path): words_lost(
            "markdown", path.read_bytes(), lambda found: chunk(found, Chunking(), words)
        )
        for path in OF_THIS_REPOSITORY
    }

    assert {path: gone for path, gone in found.items() if gone} == {}


def test_no_word_of_the_markdown_of_installed_packages_is_lost():
    found = {str(path): words_lost("markdown", path.read_bytes()) for path in OF_PACKAGES}

    assert len(found) > 10  # the pinned packages ship 39
    assert {path: gone for path, gone in found.items() if gone} == {}


# -- what public reports broke ---------------------------------------------------------------------

REPORTED = {
    "a label of many words": "[Alice]: we ship the marmalade release\n\n[ERROR]: no a.db, full",
    "labels alone": "[WARN]: the papaya gate is open\n\n[INFO]: nothing else",
    "footnotes": "Many[^1], fewer[^tls].\n\n[^1]: At most 4096 zebras.\n\n[^tls]: It halves.",
    "front matter with a colon": f"---\ntitle: Release 4: what\nabout: {'zanzibar ' * 40}\n---\nx",
    "TOML": "+++\ntitle = 'one'\ntags = ['two', 'three']\n[four]\nfive = 'six'\n+++\nseven",
    "broken TOML": "+++\ntitle = one two\n+++\nthree",
    "lists in front matter": "---\ntags: [one, two]\nmenu:\n  main: {name: three}\n---\nfour",
    "long values in front matter": f"---\ntitle: {'one two ' * 90}\nabout: {'a b ' * 300}\n---\nx",
    "many values in front matter": "---\n" + "".join(f"k{n}: v{n}\n" for n in range(90)) + "---\nx",
    "a long heading": f"# {' '.join(f'word{n}' for n in range(90))}\n\ntext",
    "a wide heading": f"# one{' ' * 3_000}two\n\ntext",
    "a long heading of two lines": f"{'one ' * 60}\n{'two ' * 60}\n---\n\ntext",
    "headings without text": "# one\n\n## two\n\n## three\n\nfour\n\n## five",
    "cells beyond the header": "|a|b|\n|-|-|\n|one|two|three|\n|four||five|six|",
    "breaks between words": "one<br>two\n\n|a|b|\n|-|-|\n|three<br/>four|![five](x)![six](y)|",
    "text between template tags": "{% if x %} one {% endif %} two\n\n{% a %} three {% b %}",
    "an identifier in a heading": "# one {#a} two {#b}\n\nthree",
    "quotes inside quotes": f"{'>' * 18} one\n\n{'> ' * 12}two",
    "a placeholder": "show <path> of `<name>`\n\n<id>\n\n<div>one</div>",
}


@pytest.mark.parametrize("name", REPORTED)
def test_what_public_reports_broke_loses_no_word(name):
    assert lost(REPORTED[name]) == {}


@pytest.mark.parametrize("name", REPORTED)
def test_what_public_reports_broke_loses_no_word_in_chunks(name, words):
    found = words_lost(
        "markdown", REPORTED[name].encode(), lambda found: chunk(found, Chunking(), words)
    )

    assert found == {}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("---\n# a comment\ntitle: one\n---\ntwo", {"one", "two"}),
        ("one [two](/three 'four') ![five](six.png 'seven')", {"one", "two", "five"}),
        ("one [two][three]\n\n[three]: /four 'five'", {"one", "two"}),
        ("```python title=one\ntwo\n```", {"two"}),
        ("# one {#two}\n\n{% three four='five' %}\n\nsix <!-- seven -->", {"one", "six"}),
        ("<b class='one'>two</b>\n\n<!-- three -->\n\n<?four five?>", {"two"}),
    ],
)
def test_what_the_manual_leaves_out_is_left_out(text, kept):
    assert lost(text) == {}
    assert set(words_of(seen_in_markdown(text.encode()))) == kept


# -- any document ----------------------------------------------------------------------------------

WORDS = st.integers(0, 999).map("w{}".format) | st.sampled_from(["Größe", "漢字", "naïve", "a_b"])
SPACES = st.sampled_from([" ", " ", " ", "  ", "\t", "\u00a0", "\u3000", "\n", " \\\n", "-", "/"])
FRAMES = st.sampled_from(
    [
        *("{}", "{}", "*{}*", "**{}**", "_{}_", "~~{}~~", "`{}`", "``{} ` ``", "{}s", "\\*{}\\*"),
        *("[{}](/x)", "[{}](<a b> 't')", "[{}][ref]", "[{}]", "![{}](x.png)", "<b>{}</b>", "({}"),
        *("[![{}](a)](b)", "{}<br>", "{} <!-- no -->", "&lt;{}&gt;", "{}[^1]", "[^{}]", "{}]:"),
        *("<{}", "<{}>", "<{} x>", "{}*", "**{}", "{}`", "[{}](", "![{}][", "{}:", "#{}", "|{}"),
        *("{}|", "{{{}}}"),
    ]
)


def runs(least=1, most=8):
    """Words in a line, with inline markup and what looks like it."""
    framed = st.tuples(FRAMES, WORDS, SPACES).map(lambda one: one[0].format(one[1]) + one[2])
    return st.lists(framed, min_size=least, max_size=most).map("".join)


def one_line(text):
    return " ".join(text.split())


LINES = runs().map(one_line)
LONG_LINES = st.lists(WORDS, min_size=30, max_size=60).map(" ".join)
CELLS = st.lists(runs(0, 3).map(one_line), min_size=1, max_size=4)


def table(rows):
    ruled = [*rows[:1], ["-"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled)


LEAVES = st.one_of(
    runs(),
    LONG_LINES,
    st.tuples(st.integers(1, 7), LINES | LONG_LINES).map(lambda one: f"{'#' * one[0]} {one[1]}"),
    st.tuples(LINES, st.sampled_from(["===", "---"])).map("\n".join),
    st.tuples(st.sampled_from(["```", "~~~"]), runs()).map(lambda c: f"{c[0]}sh\n{c[1]}\n{c[0]}"),
    runs().map(lambda text: "    " + text.replace("\n", "\n    ")),
    st.lists(CELLS, min_size=2, max_size=4).map(table),
    st.tuples(WORDS, LINES).map(lambda one: f"[{one[0]}]: {one[1]}"),
    st.tuples(WORDS, runs()).map(lambda one: f"[^{one[0]}]: {one[1]}"),
    st.tuples(LINES, runs()).map(lambda one: f"{one[0]}\n: {one[1]}"),
    LINES.map("<div>\n{}\n</div>".format),
    LINES.map("<details><summary>{}</summary>\n\nw1\n\n</details>".format),
    st.tuples(WORDS, WORDS).map(lambda w: f"<table><td>{w[0]}</td> <td>{w[1]}</td></table>"),
    WORDS.map("{{% {} %}}".format),
    st.sampled_from(["[ref]: /x 'title'", "***", "<!-- no -->", "{% tab title='x' %}", "[^1]: w1"]),
)


def indented(mark, text):
    return mark + text.replace("\n", "\n" + " " * len(mark))


def containers(inner):
    several = st.lists(inner, min_size=1, max_size=3).map("\n\n".join)
    mark = st.sampled_from(["- ", "* ", "1. ", "12) ", "-   ", ": ", "- [ ] ", "[^1]: "])
    return st.one_of(
        st.tuples(mark, several).map(lambda one: indented(*one)),
        several.map(lambda text: "> " + text.replace("\n", "\n> ")),
        st.lists(inner, min_size=2, max_size=3).map("\n".join),
    )


BLOCKS = st.recursive(LEAVES, containers, max_leaves=6)
DOCUMENTS = st.lists(BLOCKS, max_size=5).map(lambda all_: "\n\n".join(["first", *all_]))


@given(DOCUMENTS)
def test_no_word_of_any_markdown_is_lost(text):
    assert lost(text) == {}


PIECES = st.sampled_from(
    [
        *(
            "# ",
            "- ",
            "> ",
            "1. ",
            "    ",
            "\t",
            "\n",
            "\n\n",
            "|",
            "\n-|-\n",
            "`",
            "```\n",
            "*",
            "**",
        ),
        *(
            "_",
            "[",
            "]",
            "](",
            ")",
            "![",
            "]: ",
            "[^",
            "]:",
            "<",
            ">",
            "</",
            "<b>",
            "<div>",
            "<!--",
        ),
        *(
            "-->",
            "&amp;",
            "\\",
            "~~",
            ": ",
            "{%",
            "%}",
            "{#",
            "}",
            "===\n",
            "---\n",
            "<x>",
            "'",
            '"',
        ),
        *(" ", " ", "!", "+++\n"),
    ]
)
MIXED = st.lists(PIECES | WORDS | SPACES, max_size=40).map("".join)


@given(MIXED)
def test_no_word_between_any_marks_is_lost(text):
    assert lost(f"w {text}") == {}


@given(MIXED)
@example("a\u2028b\x0cc\x85d\re")
def test_no_word_of_plain_text_is_lost(text):
    assert lost(f"w {text}", "text") == {}
