"""The language of a text."""

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
