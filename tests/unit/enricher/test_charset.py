import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import DocumentRefused
from shared.formats.charset import decode

GERMAN = "Größere Änderungen übernimmt der Prüfer nur nach Rücksprache mit den Äußeren Ämtern. " * 5
RUSSIAN = "Сервер хранит сообщения и отдаёт их потребителям, когда они готовы их обработать. " * 5


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_utf8_is_read_as_it_is(text):
    assert decode(text.encode()).text == text.removeprefix("\ufeff")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_decides(encoding):
    assert decode(RUSSIAN.encode(encoding)).text == RUSSIAN


def test_a_declared_charset_is_used_when_the_bytes_are_not_utf8():
    assert decode(RUSSIAN.encode("koi8-r"), declared="koi8-r").text == RUSSIAN


@pytest.mark.parametrize("declared", ["no-such-charset", "hex", "rot13", "idna", "utf-8"])
def test_a_useless_declaration_does_no_harm(declared):
    assert decode(GERMAN.encode("cp1252"), declared=declared).text == GERMAN


def test_utf8_wins_over_a_wrong_declaration():
    assert decode(GERMAN.encode(), declared="latin-1").text == GERMAN


@pytest.mark.parametrize("text", ["café", "Frau Müller", "“quoted” \u2014 dash", GERMAN])
def test_western_text_without_a_mark_is_windows_1252(text):
    assert decode(text.encode("cp1252")).text == text


def test_statistics_tell_a_language_in_another_alphabet():
    assert decode((RUSSIAN * 3).encode("cp1251")).text == RUSSIAN * 3


def test_a_few_broken_bytes_do_not_turn_utf8_into_something_else():
    damaged = RUSSIAN.encode()[:-2] + b"\xff." + RUSSIAN.encode()

    assert decode(damaged).text.startswith(RUSSIAN[:80])
    assert "\ufffd" in decode(damaged).text


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
        text = decode(data).text
    except DocumentRefused:
        return

    assert not any("\ud800" <= c <= "\udfff" for c in text)


@pytest.mark.parametrize(
    ("text", "encoding", "guess"),
    [
        (GERMAN, "utf-8", ""),
        (GERMAN, "utf-16", ""),
        (GERMAN, "cp1252", "guessed: windows-1252"),
        ("naïveté", "cp1252", "guessed: windows-1252 (doubtful)"),
        (RUSSIAN, "cp1251", "guessed: windows-1251"),
        (RUSSIAN, "koi8-r", "guessed: koi8-r"),
        (RUSSIAN, "iso8859-5", "guessed: iso-8859-5"),
        ("日本語のマニュアルをお読みください。", "cp932", "guessed: shift_jis"),
        ("日本語のマニュアルをお読みください。", "iso2022_jp", "guessed: iso-2022-jp"),
        ("この本です", "cp932", "guessed: shift_jis (doubtful)"),
        (GERMAN, "utf-16-le", "guessed: utf-16-le"),
        (RUSSIAN, "utf-16-be", "guessed: utf-16-be"),
        (GERMAN, "utf-32-be", "guessed: utf-32-be"),
    ],
)
def test_a_guess_says_that_it_is_one_and_whether_it_is_doubtful(text, encoding, guess):
    assert decode(text.encode(encoding)) == (text, guess)


@pytest.mark.parametrize("encoding", ["koi8-r", "cp1252", "gb18030", "utf-16-le"])
def test_what_is_declared_is_no_guess(encoding):
    text = "сообщение" if encoding == "koi8-r" else "é"

    assert decode(text.encode(encoding), declared=encoding) == (text, "")


@pytest.mark.parametrize(
    ("declared", "meant"),
    [
        ("latin-1", "cp1252"),
        ("us-ascii", "cp1252"),
        ("iso-8859-9", "cp1254"),
        ("gb2312", "gb18030"),
        ("shift_jis", "cp932"),
        ("ks_c_5601-1987", "cp949"),
    ],
)
def test_a_declared_name_means_what_browsers_take_it_for(declared, meant):
    text = {"gb18030": "镕", "cp932": "①", "cp949": "똠"}.get(meant, "it’s “quoted” — £5")  # noqa: RUF001

    assert decode(text.encode(meant), declared=declared).text == text


def test_a_declared_charset_that_cannot_be_right_gives_way_to_a_guess():
    assert decode(GERMAN.encode("cp1252"), declared="shift_jis").text == GERMAN
    assert decode(GERMAN.encode("cp1252"), declared="shift_jis").guess == "guessed: windows-1252"


@pytest.mark.parametrize("data", [b"ab\0cd\0", b"\1\0\2\0\3\0\4\0", b"a\0b\0c\0\1\0", b"\0" * 8])
def test_bytes_with_nul_that_are_no_text_are_not_taken_for_utf_16(data):
    with pytest.raises(DocumentRefused) as refusal:
        decode(data)

    assert refusal.value.code == "unknown_format"
