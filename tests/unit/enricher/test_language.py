"""The language of a text."""

import pytest

from services.enricher.language import LOOKED_AT, UNKNOWN, language_of

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
