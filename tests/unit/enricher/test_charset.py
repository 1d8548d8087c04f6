import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.enricher.formats.charset import decode
from shared.domain.errors import DocumentRefused

GERMAN = "Größere Änderungen übernimmt der Prüfer nur nach Rücksprache mit den Äußeren Ämtern. " * 5
RUSSIAN = "Сервер хранит сообщения и отдаёт их потребителям, когда они готовы их обработать. " * 5


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_utf8_is_read_as_it_is(text):
    assert decode(text.encode()) == text.removeprefix("\ufeff")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_decides(encoding):
    assert decode(RUSSIAN.encode(encoding)) == RUSSIAN


def test_a_declared_charset_is_used_when_the_bytes_are_not_utf8():
    assert decode(RUSSIAN.encode("koi8-r"), declared="koi8-r") == RUSSIAN


@pytest.mark.parametrize("declared", ["no-such-charset", "hex", "rot13", "idna", "utf-8"])
def test_a_useless_declaration_does_no_harm(declared):
    assert decode(GERMAN.encode("cp1252"), declared=declared) == GERMAN


def test_utf8_wins_over_a_wrong_declaration():
    assert decode(GERMAN.encode(), declared="latin-1") == GERMAN


@pytest.mark.parametrize("text", ["café", "Frau Müller", "“quoted” \u2014 dash", GERMAN])
def test_western_text_without_a_mark_is_windows_1252(text):
    assert decode(text.encode("cp1252")) == text


def test_statistics_tell_a_language_in_another_alphabet():
    assert decode((RUSSIAN * 3).encode("cp1251")) == RUSSIAN * 3


def test_a_few_broken_bytes_do_not_turn_utf8_into_something_else():
    damaged = RUSSIAN.encode()[:-2] + b"\xff." + RUSSIAN.encode()

    assert decode(damaged).startswith(RUSSIAN[:80])
    assert "\ufffd" in decode(damaged)


@pytest.mark.parametrize("data", [b"a\0b", b"\x89PNG\r\n\x1a\n\0\0", bytes(range(32)) * 40])
def test_what_is_no_text_is_an_unknown_format(data):
    with pytest.raises(DocumentRefused) as refusal:
        decode(data)

    assert refusal.value.code == "unknown_format"


def test_bytes_of_no_language_are_refused_not_indexed_as_garbage():
    noise = bytes(128 + (n * 89 + n * n * 31) % 128 for n in range(2_000))

    with pytest.raises(DocumentRefused) as refusal:
        decode(noise)

    assert refusal.value.code == "wrong_encoding"


@given(st.binary())
def test_any_bytes_are_text_or_refused(data):
    try:
        text = decode(data)
    except DocumentRefused:
        return

    assert not any("\ud800" <= c <= "\udfff" for c in text)
