"""The language of a text."""

import json
from pathlib import Path

import pytest

from shared.domain.text.language import LOOKED_AT, UNKNOWN, foreign_language, language_of

TEXTS = {
    "en": "The pump has to be switched off before anybody opens the valve.",
    "de": "Die Pumpe muss abgeschaltet werden, bevor jemand das Ventil öffnet.",
    "fr": "La pompe doit être arrêtée avant que la vanne ne soit ouverte.",
    "es": "La bomba debe apagarse antes de que alguien abra la válvula.",
    "it": "La pompa deve essere spenta prima che qualcuno apra la valvola della caldaia.",
    "ja": "作業の前にポンプの電源を切ってください。その後で弁を開きます。",
}


@pytest.mark.parametrize("language", tuple(TEXTS))
def test_a_sentence_is_told(language):
    assert language_of(TEXTS[language]) == language


@pytest.mark.parametrize("text", ["", "kurz", "a b c d e f g", "12345 " * 50, "* --- ### " * 40])
def test_a_text_of_few_letters_has_none(text):
    assert language_of(text) == UNKNOWN


def test_program_code_has_none():
    assert language_of("x9 = qz(vv[k3], zzt) ; qq(vv) ; kx.yy(zz)") == UNKNOWN


def test_the_beginning_decides_so_an_edit_further_down_changes_nothing():
    long = TEXTS["de"] * (LOOKED_AT // len(TEXTS["de"]) + 1)

    assert language_of(long + TEXTS["en"] * 1000) == "de"


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("wo finde ich die Rechnung", "de"),
        ("comment annuler mon abonnement", "fr"),
        ("когда вернут деньги за поездку", UNKNOWN),
        ("как отменить подписку", "ru"),
        ("如何取消订阅", "zh"),
        ("구독 취소 방법", "ko"),
    ],
)
def test_a_question_in_a_language_that_is_not_known_is_told(question, language):
    assert foreign_language(question, ("en",)) == language


@pytest.mark.parametrize(
    "question",
    [
        *("rotate credentials", "Schengen visa", "der spiegel subscription", "max_payload", "42"),
        *("IT", "The Who", "pizza margherita", "src/app/main.py", "", "angela merkel speech"),
    ],
)
def test_a_question_that_may_be_english_is_not_called_foreign(question):
    assert foreign_language(question, ("en",)) is None


def test_a_language_that_is_known_is_not_foreign():
    assert foreign_language("wo finde ich die Rechnung", ("en", "de")) is None


DATA = Path(__file__).parents[3] / "bench" / "data"
FOREIGN = ("wie wechsle", "dateien verschwunden", "was ist mit", "comment restaurer")
"""Beginnings of the questions about the manual that are not English."""


def read(name):
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def test_hardly_a_foreign_question_is_missed_and_no_english_one_is_called_foreign():
    """The figures of the manual."""
    given = read("questions-by-language.jsonl")
    manual = [one["q"] for one in read("manual-judged.jsonl")]
    english = [one["q"] for one in given if one["language"] == "en"]
    english += [q for q in manual if not q.lower().startswith(FOREIGN)]
    others = [one["q"] for one in given if one["language"] != "en"]
    others += [q for one in read("other-languages.jsonl") for q in one["questions"]]

    assert (len(english), len(others)) == (117, 122)
    assert [q for q in english if foreign_language(q, ("en",))] == []
    assert sum(foreign_language(q, ("en",)) is not None for q in others) == 118
