"""The words of keyword search: the same of a row and of a question, whatever they hold."""

import re

import pytest
import Stemmer
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.text.words import LONGEST, VERSION, asked, column, words

DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
LAW = "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz"
LETTERS = "aZé漢ไ猫ーก็ﾞ一😀\u0301\u0323\u200d\ufe0f\u00ad'\u2019_-./\\:@&+#\"1٣ "
ODD = st.text(st.sampled_from(f"{LETTERS}\n\t\u2028\0") | st.characters())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Rotating credentials", "rotat credenti"),
        ("max_payload", "max payload maxpayload"),
        ("node.js", "node js nodej"),
        ("ERR-1043", "err 1043 err1043"),
        ("getUserName", "getusernam get user name"),
        ("HTTPServer URLs", "httpserver http server url"),
        ("docs/keys.md", "doc key md keysmd docskeysmd"),
        ("v2.15.1", "v2 15 1 v2.15.1"),
        ("python3 100MB R3", "python3 python 3 100mb 100 mb r3"),
        ("C++ C# .NET", "c c++ c c# net .net"),
        ("user's don't l'avion", "user dont l avion lavion"),
        ("The WHO", "the who WHO"),
        ("Résumé Straße", "resum strass"),
        ("базы данных", "баз дан"),
        ("备份", "备 份 备份"),
        ("猫", "猫"),
        ("ｶﾞｷﾞ", "ガ ギ ガギ"),
        ("ไทย", "ไ ท ย ไท ทย"),
        ("한국어", "한 국 어 한국 국어"),
        ("👍🏽 →", "👍 →"),
        ("...", ""),
    ],
)
def test_words_of(text, found):
    assert words(text) == found.split()


def test_words_that_are_changed_are_counted():
    """Another answer above, or another Snowball, needs another VERSION: rows written before would
    not be found."""
    assert (VERSION, Stemmer.version().rpartition(".")[0]) == (1, "3.1")


@pytest.mark.parametrize("word", [DIGEST, LAW, f"{LAW}{LAW}{LAW}", "a" * 5_000])
def test_a_word_of_any_length_is_found(word):
    assert set(asked(word)) <= set(words(f"See ({word}), it says."))
    assert all(len(found) <= LONGEST for found in words(word))


def test_long_words_differ_in_their_last_letter():
    assert words("a" * 999 + "b") != words("a" * 999 + "c")


@pytest.mark.parametrize(
    "spellings",
    [
        ("getUserName", "get_user_name", "get-user-name", "getusername"),
        ("node.js", "nodejs", "node-js", "Node.js"),
        ("utf8", "UTF-8", "utf_8"),
        ("2026-11-30", "2026/11/30", "2026.11.30"),
        ("don't", "don\u2019t", "dont"),
        ("naïve", "naive", "NAÏVE", "nai\u0308ve"),
        ("１２３", "123"),  # noqa: RUF001
    ],
)
def test_spellings_of_a_name_meet(spellings):
    assert set.intersection(*(set(words(one)) for one in spellings))


def test_numbers_with_other_points_do_not_meet():
    assert not set(words("1.23")) & set(words("12.3"))


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("how do I rotate the keys", "rotat key"),
        ("IT", "it IT"),
        ("The Who", "the who"),
        ("to be or not to be", "to be or not"),
        ("IT department", "IT depart"),
        ("HOW IS IT", "how HOW is IS it IT"),
        ("如何恢复备份", "如何 何恢 恢复 复备 备份"),
        ("", ""),
        ('"" (( -- *', ""),
    ],
)
def test_a_question_asks_for(question, found):
    assert asked(question) == found.split()


@given(ODD, ODD, ODD)
def test_a_text_has_the_words_of_every_question_that_it_contains(before, question, after):
    held = words(f"{before} {question} {after}")

    assert set(asked(question)) <= set(words(question)) <= set(held)


@given(ODD)
def test_a_word_holds_no_blank_and_has_one_spelling(text):
    found = words(text)

    assert found == words(text)
    assert found == re.split(r"\s+", " ".join(found)) or not found
    assert column("", (), text).split() == found
    assert all(word.encode() for word in found)
