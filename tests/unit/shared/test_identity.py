"""Names that everything is keyed by: the same document has one key, for ever."""

import contextlib
import re
import unicodedata
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.domain.errors import DocumentRefused
from shared.domain.ids import (
    MAX_PATH_BYTES,
    cache_key,
    check_document_path,
    check_path,
    check_source,
    content_hash,
    doc_key,
    last_name,
    row_id,
    short_digest,
)

KEY = "vshzvhhfdghhfk5oeormtl4pep"
CHUNK = "kkkkkkkkkk234567abcdefghij"


def test_keys_that_lie_on_disks_never_change():
    assert doc_key("docs", "guide/install.md") == KEY
    assert row_id(KEY, CHUNK, 1793184000123456) == "9b982ba0-f097-5e95-8236-238bee688852"
    assert cache_key("print", "text") == "6f2vhc6c55losqyedtrhrokac56ddjfupidifvw4krkbalx77mwq"
    assert content_hash(b"text") == (
        "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
    )


# -- documents -------------------------------------------------------------------------------------


@given(st.text(min_size=1))
@example("e\N{COMBINING ACUTE ACCENT}.md")
@example("\N{ANGSTROM SIGN}/\N{HANGUL SYLLABLE GAG}.md")
def test_twins_in_other_normal_forms_are_one_document(path):
    keys = {doc_key("docs", unicodedata.normalize(form, path)) for form in ("NFC", "NFD")}

    assert keys == {doc_key("docs", path)}


@given(st.text(), st.text())
def test_other_paths_have_other_keys(one, other):
    same = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)

    assert (doc_key("docs", one) == doc_key("docs", other)) == same


def test_the_same_path_in_two_sources_is_two_documents():
    assert doc_key("docs", "a.md") != doc_key("wiki", "a.md")


@given(st.binary(max_size=60))
def test_a_key_is_a_subject_token_even_for_names_that_are_no_unicode(name):
    path = name.decode("utf-8", "surrogateescape")  # as the file system gives it

    assert re.fullmatch(r"[a-z2-7]{26}", doc_key("docs", path))


# -- URLs ------------------------------------------------------------------------------------------

URLS = (
    "https://host/a//b?x=1#y",
    "http://host",
    "HTTPS://host/",
    "https://host/a?next=../../x",
    "https://user@host:8080/a%2Fb/ä",
    "notion://page/1",
)


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_the_path_of_a_document_as_it_is_but_never_of_a_file(url):
    assert check_document_path(url) == url
    with pytest.raises(DocumentRefused):
        check_path(url + "//")


@pytest.mark.parametrize(
    "path",
    [
        *("https://", "https:///a", "://host", "https:/host//a", "//host/a", "file:///etc/passwd"),
        *("https://host/../a", "https://host/a/..?x", "https://host/./a", "https://host/\0"),
        *("https://host/" + "x" * 1_024, "https://host/\udcff", "1https://host", "a b://host//x"),
    ],
)
def test_what_only_looks_like_a_url_is_no_path(path):
    with pytest.raises(DocumentRefused) as refused:
        check_document_path(path)
    assert "path" in refused.value.reason


@given(st.text(max_size=60))
@example("e\N{COMBINING ACUTE ACCENT}/../a")
@example(".")
def test_an_accepted_url_is_normal_and_accepted_again(rest):
    with contextlib.suppress(DocumentRefused):
        accepted = check_document_path(f"https://{rest}")
        assert accepted == unicodedata.normalize("NFC", f"https://{rest}")
        assert check_document_path(accepted) == accepted
        assert not {".", ".."} & set(re.split("[?#]", accepted)[0].split("/"))


@given(st.text(max_size=60))
def test_every_path_of_a_file_is_one_of_a_document(path):
    with contextlib.suppress(DocumentRefused):
        assert check_document_path(check_path(path)) == check_path(path)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("https://host/a/b.pdf?x=c/d.md#e.html", "b.pdf"),
        ("https://host/a.md#b/c.html", "a.md"),
        ("https://example.md", ""),
        ("https://example.md?a.pdf", ""),
        ("https://host/a/", ""),
        ("what?.pdf", "what?.pdf"),
        ("a/c#.html", "c#.html"),
    ],
)
def test_the_last_name_of_a_url_ends_before_its_query(path, name):
    assert last_name(path) == name


# -- paths -----------------------------------------------------------------------------------------


@given(st.text(max_size=80))
def test_an_accepted_path_is_normal_relative_and_accepted_again(path):
    with contextlib.suppress(DocumentRefused):
        accepted = check_path(path)
        assert accepted == unicodedata.normalize("NFC", path)
        assert check_path(accepted) == accepted
        assert not {"", ".", ".."} & set(accepted.split("/"))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "a//b.md",
        "a/",
        "./a.md",
        "../a.md",
        "a/../b.md",
        "a/..",
        "a\0.md",
        "a\udcff.md",
        "x" * (MAX_PATH_BYTES + 1),
        "é" * (MAX_PATH_BYTES // 2 + 1),
    ],
)
def test_a_path_that_leads_astray_is_refused(path):
    with pytest.raises(DocumentRefused) as refusal:
        check_path(path)

    assert refusal.value.code == "invalid_path"
    assert path == "" or path not in str(refusal.value)


@pytest.mark.parametrize(
    "path", ["a", "...", "..a/b..", "a b/ c.md", "a\n.md", "é.md", "x" * MAX_PATH_BYTES]
)
def test_a_path_that_is_only_odd_is_accepted(path):
    assert check_path(path) == path


@pytest.mark.parametrize("source", ["a", "docs", "9-lives", "a" * 40])
def test_a_source_name_is_a_subject_token(source):
    assert check_source(source) == source


@pytest.mark.parametrize("source", ["", "-a", "A", "a_b", "a.b", "a*", "é", "a" * 41, "a\n"])
def test_any_other_source_name_is_refused(source):
    with pytest.raises(DocumentRefused) as refusal:
        check_source(source)

    assert refusal.value.code == "invalid_source"


# -- rows and texts --------------------------------------------------------------------------------


def test_a_row_is_named_by_document_content_and_birth():
    ids = {row_id(KEY, CHUNK, 5), row_id("x" * 26, CHUNK, 5), row_id(KEY, "x" * 26, 5)}
    ids.add(row_id(KEY, CHUNK, 6))

    assert len(ids) == 4
    assert all(uuid.UUID(found).version == 5 for found in ids)


def test_a_vector_is_cached_by_model_and_text():
    assert cache_key("f32", "text") != cache_key("int8", "text")
    assert cache_key("f32", "text") != cache_key("f32", "text ")


TOKENS = st.from_regex("[a-z2-7]{1,26}", fullmatch=True)


@given(TOKENS, st.text(), TOKENS, st.text())
def test_two_vectors_have_one_key_if_model_and_text_are_one(model, text, other_model, other_text):
    same = (model, text) == (other_model, other_text)

    assert (cache_key(model, text) == cache_key(other_model, other_text)) == same


ROWS = st.tuples(TOKENS, TOKENS, st.integers(0, 9))


@given(ROWS, ROWS)
def test_two_rows_have_one_id_if_everything_about_them_is_one(row, other):
    assert (row_id(*row) == row_id(*other)) == (row == other)


@given(st.text(), st.integers(1, 52))
def test_a_short_digest_has_the_length_asked_for(text, length):
    assert re.fullmatch(r"[a-z2-7]+", short_digest(text, length))
    assert len(short_digest(text, length)) == length
