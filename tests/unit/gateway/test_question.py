"""The language of a question: phrases, exclusions, and everything else is text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.search.question import parse_question
from shared.ports import Hit


def hit(text, title="", heading=()):
    return Hit("id", "doc", "notes", "a.md", 1, "chunk", title, heading, text, 1.0)


def admits(question, text, **parts):
    return parse_question(question).admits(hit(text, **parts))


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ('restore "signing key" -draft', "restore  signing key"),
        ('"signing key"', "signing key"),
        ('backup -"old server"', "backup"),
        ("-draft backup", "backup"),
    ],
)
def test_what_is_searched_for_is_without_quotes_and_exclusions(question, text):
    found = parse_question(question)

    assert (found.text, found.restricts) == (text, True)


@pytest.mark.parametrize(
    "question",
    [
        *(
            "",
            "-",
            "--",
            '"',
            '""',
            'a 5" pipe',
            'pipe 5" x 3" copper',
            "weather -40 degrees",
            "tar -x archive",
            "--mode keyword",
            "e-mail",
        ),
        *("a - b", "-draft", "a -", "a -(b)", '-""', "- -", '"', "well-known", "\0", "a \ud800"),
    ],
)
def test_everything_else_is_text(question):
    found = parse_question(question)

    assert not found.restricts
    assert found.text.split() in (question.split(), question.replace('"', " ").split())


@pytest.mark.parametrize(
    ("question", "text", "is_shown"),
    [
        ('"to be or not"', "To be, or not to be", True),
        ('"not be"', "To be, or not to be", False),
        ('"signing keys"', "the signing key", False),
        ('"signing"', "assigning", False),
        ('"node.js"', "it runs on Node.js now", True),
        ('"c++"', "written in C++", True),
        ('"c++"', "written in C", False),
        ('"résumé"', "a resume", True),
        ('"备份数据"', "每天自动备份数据库", True),
        ('"数备"', "每天自动备份数据库", False),
        ('"a b" "c d"', "a b and c d", True),
        ('"a b" "c d"', "a b and d c", False),
        ("backup -server", "a backup of servers", False),
        ("backup -server", "a backup", True),
        ("backup -max_payload", "max backup of a payload", True),
        ("backup -max_payload", "backup of max_payload", False),
        ('backup -"old server"', "a backup of the old server", False),
        ('backup -"old server"', "an old backup of the server", True),
    ],
)
def test_what_a_hit_holds_decides(question, text, is_shown):
    assert admits(question, text) is is_shown


def test_a_phrase_is_within_the_title_a_heading_or_the_text():
    where = {"title": "Signing", "heading": ("keys", "Old keys")}

    assert admits('"old keys"', "Rotate", **where)
    assert admits('"signing"', "Rotate", **where)
    assert not admits('"signing keys"', "Rotate", **where)
    assert not admits("rotate -signing", "Rotate", **where)


@given(st.text(), st.text())
def test_no_question_raises(question, text):
    found = parse_question(question)
    found.admits(hit(text, title=question))

    assert found.text or not question.strip() or not found.restricts


@given(st.text(st.characters(exclude_characters='"')), st.text(), st.text())
def test_a_text_that_holds_a_quoted_text_is_shown(phrase, before, after):
    assert admits(f'"{phrase}"', f"{before} {phrase} {after}")


@pytest.mark.parametrize(
    ("question", "does"),
    [
        ('"how to" rotate', False),
        ('"to be" hamlet', False),
        ('"rotate it" key', True),
        ("key", True),
    ],
)
def test_a_phrase_of_small_words_is_not_what_the_store_is_asked_for(question, does):
    assert parse_question(question).finds_every_phrase is does
