"""Words have one spelling, in documents and in questions."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.search.question import highlights, parse_question
from shared.domain.text.unicode_text import normalised
from shared.formats.extract import extract
from shared.stores.checks import clean_query

WORD = "Donaudampfschifffahrt"
INVISIBLE = [
    *("\u00ad", "\u034f", "\u061c", "\u180e", "\u200b", "\u200e", "\u200f", "\u2060", "\ufeff"),
    *(chr(n) for n in range(0x202A, 0x202F)),
    *(chr(n) for n in range(0x2066, 0x206A)),
]
PERSIAN = "می | خواهم کتاب | ها را بخوانم".replace(" | ", "\u200c")  # noqa: RUF001
FAMILY = "family \U0001f469\u200d\U0001f469\u200d\U0001f466"


def read(text, path):
    found = extract(text.encode(), path=path, media_type=None, title=None)
    return found.title, [block.text for block in found.blocks]


def codes(character):
    return f"U+{ord(character):04X}"


@pytest.mark.parametrize("path", ["a.md", "a.txt", "a.html"])
def test_a_document_with_decomposed_letters_has_composed_ones(path):
    text = "Der Bürgermeister eröffnet die Brücke; die Résumés liegen aus."

    assert read(unicodedata.normalize("NFD", text), path) == read(text, path)
    assert read(text, path)[1] == [text]


@pytest.mark.parametrize("path", ["a.md", "a.txt", "a.html"])
@pytest.mark.parametrize("mark", INVISIBLE, ids=codes)
def test_a_mark_that_nobody_sees_parts_no_word_of_a_document(path, mark):
    assert read(f"Die {WORD[:5]}{mark}{WORD[5:]} fährt.", path)[1] == [f"Die {WORD} fährt."]


@pytest.mark.parametrize("entity", ["&shy;", "&#173;", "&ZeroWidthSpace;", "&NoBreak;", "&lrm;"])
def test_a_mark_that_is_written_as_an_entity_parts_no_word(entity):
    text = f"<h1>{WORD[:5]}{entity}{WORD[5:]}</h1><p>{WORD[:5]}{entity}{WORD[5:]}</p>"

    assert read(text, "a.html") == (WORD, [WORD, WORD])


@pytest.mark.parametrize("path", ["a.md", "a.txt", "a.html"])
@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[1;31mERROR\x1b[0m of pump", "ERROR of pump"),
        ("N\x08NA\x08AM\x08ME\x08E of pump", "NAME of pump"),
        ("_\x08p_\x08u_\x08m_\x08p is off", "pump is off"),
        ("pump\x1foff " + "and on " * 9 + "again", "pump off " + "and on " * 9 + "again"),
    ],
    ids=["colours", "bold", "underlined", "separated"],
)
def test_controls_of_a_terminal_glue_nothing_to_a_word(path, text, seen):
    assert read(text, path)[1] == [seen]


@pytest.mark.parametrize("path", ["a.md", "a.txt", "a.html"])
@pytest.mark.parametrize("text", [PERSIAN, FAMILY, "क्\u200dष", "ක්\u200dෂ"])
def test_a_mark_with_a_meaning_stays(path, text):
    assert read(text, path)[1] == [text]
    assert clean_query(text) == text


def test_composing_letters_spares_the_marks_of_html():
    assert read("<p>a</p><p>\u0338b</p>", "a.html")[1] == ["a", "\u0338b"]


@pytest.mark.parametrize(
    "question",
    [unicodedata.normalize("NFD", "eröffnet Brücke"), "er\u00adöffnet Br\u200bücke"],
)
def test_a_question_is_spelt_like_a_document(question):
    text = "Der Bürgermeister eröffnet die Brücke."

    assert clean_query(question) == "eröffnet Brücke"
    assert [text[start:end] for start, end in highlights(parse_question(question), text)] == [
        "eröffnet",
        "Brücke",
    ]


@given(
    st.text(st.characters())
    | st.text("ae\u0301\u0323\u0344\u0958<\u0338\u00ad—\u200d", max_size=99)
)
def test_the_spelling_of_a_text_is_its_own_spelling(text):
    once = normalised(text)

    assert normalised(once) == once
    assert unicodedata.normalize("NFC", once) == normalised(unicodedata.normalize("NFC", once))


@given(st.text(st.characters(), max_size=31))
def test_a_text_is_nfc(text):
    assert unicodedata.is_normalized("NFC", normalised(text))


def test_more_marks_than_any_word_has_keep_their_order():
    many = "\u0301\u0323" * 200_000

    kept = normalised(f"e{many}u\u0308") == f"e{many}ü"
    assert kept  # not a comparison of texts, of which pytest would explain the difference
