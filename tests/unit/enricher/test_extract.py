import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import DocumentRefused
from shared.formats.extract import extract


def md(text, **given_):
    data = text if isinstance(text, bytes) else text.encode()
    return extract(data, **{"path": "a/b.md", "media_type": None, "title": None, **given_})


def refused(data, **given_):
    with pytest.raises(DocumentRefused) as refusal:
        md(data, **given_)
    return refusal.value.code


def test_every_block_knows_the_headings_above_it():
    blocks = md("# A\n\none\n\n### B\n\ntwo\n\n## C\n\nthree").blocks

    assert [(b.text, b.path) for b in blocks if b.kind == "paragraph"] == [
        ("one", ("A",)),
        ("two", ("A", "B")),
        ("three", ("A", "C")),
    ]


@pytest.mark.parametrize(
    ("text", "given_", "title"),
    [
        ("---\ntitle: Front\n---\n# Head\n\nx", {"title": "Given"}, "Given"),
        ("---\ntitle: Front\n---\n# Head\n\nx", {}, "Front"),
        ("## Two\n\n# Head\n\nx", {}, "Head"),
        ("no heading", {}, ""),
        ("<title>T</title><h1>Head</h1>", {"path": "x.html"}, "Head"),
        ("<title>T</title><p>x</p>", {"path": "x.html"}, "T"),
        ("plain\ntext", {"path": "title-is-not-the-path.txt"}, ""),
    ],
)
def test_the_title_is_the_best_that_the_document_offers_and_never_its_path(text, given_, title):
    assert md(text, **given_).title == title


@pytest.mark.parametrize(
    ("page", "given_", "metadata", "origins"),
    [
        ("<title>T</title><p>x", {}, {}, {"title": "title element"}),
        ("<title>T</title><h1>T</h1>", {}, {}, {"title": "heading"}),
        ("<p>x", {}, {}, {}),
        (
            "<title>T - Site</title><h1>T</h1>",
            {},
            {"page_title": "T - Site"},
            {"title": "heading", "page_title": "title element"},
        ),
        (
            "<title>T</title><p>x",
            {"title": "Given"},
            {"page_title": "T"},
            {"page_title": "title element"},
        ),
    ],
)
def test_a_title_element_that_is_not_the_title_is_metadata(page, given_, metadata, origins):
    found = md(page, path="x.html", **given_)

    assert (found.metadata, found.origins) == (metadata, origins)


@given(st.text(st.characters(codec="utf-8", exclude_characters="./\0"), min_size=1))
def test_moving_a_file_changes_nothing(name):
    assert md("# A\n\nb", path=f"{name}.md") == md("# A\n\nb")


def test_values_of_the_front_matter_are_metadata():
    text = (
        "---\ntitle: T\nauthor: A\ndate: 2026-01-02\ndraft: false\nn: 3\ntags: [a, b]\n"
        "bad: .nan\nhuge: 0xffffffffffffffffffff\nnone:\n---\nx"
    )

    assert md(text).metadata == {
        "author": "A",
        "date": "2026-01-02",
        "draft": False,
        "n": 3,
        "tags": "a, b",
        "bad": "nan",
        "huge": "0xffffffffffffffffffff",
        "none": None,
    }


@pytest.mark.parametrize(
    "front",
    [
        "a: b: c",
        "just words",
        "- a\n- b",
        "a: &x [1]\nb: *x",
        "a: &x {k: 1}\nb:\n  <<: *x",
        "[" * 3_000,
        "!!python/object/apply:os.system [x]",
        "d: 2026-99-99",
    ],
    ids=lambda front: front[:12],
)
def test_front_matter_that_is_none_stays_text(front):
    extracted = md(f"---\n{front}\n---\nbody")

    assert extracted.metadata == {}
    assert extracted.blocks[0].text.startswith(front[:3])
    assert "body" in extracted.blocks[-1].text


@pytest.mark.parametrize(
    ("data", "given_", "code"),
    [
        (b"", {}, "empty"),
        (b" \r\n\t", {}, "empty"),
        (b"---\n\n***\n", {}, "no_text"),
        (b"<html><body><img src=x></body></html>", {"path": "x.html"}, "no_text"),
        (b"%PDF-1.7\n...", {"path": "x.md"}, "corrupt"),
        (b"PK\x03\x04...", {}, "corrupt"),
        (b"x\0y", {"path": "x.txt"}, "unknown_format"),
        (b"hello", {"media_type": "application/pdf"}, "corrupt"),
        (b"hello", {"media_type": "image/png"}, "unknown_format"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_stable_code(data, given_, code):
    assert refused(data, **given_) == code


def test_a_media_type_wins_over_the_ending():
    html = md("<p>x</p>", media_type="text/html; charset=utf-8")
    text = md("<p>x</p>", media_type="application/json")

    assert html.blocks[0].text == "x"
    assert text.blocks[0].text == "<p>x</p>"


def test_a_page_may_name_its_own_charset():
    page = "<meta charset='koi8-r'><p>сообщение</p>".encode("koi8-r")

    assert md(page, path="x.html").blocks[0].text == "сообщение"


@pytest.mark.parametrize(
    ("path", "head"),
    [
        ("x.html", "<meta http-equiv=Content-Type content='text/html; charset=koi8-r'>"),
        ("x.html", f"<!--{'far down ' * 900}--><meta charset=koi8-r>"),
        ("x.html", '<?xml version="1.0" encoding="koi8-r"?>'),
        ("x.xml", "\n<?xml version='1.0' encoding='koi8-r' ?>"),
    ],
)
def test_a_charset_that_the_document_declares_is_no_guess(path, head):
    found = md(f"{head}<p>сообщение</p>".encode("koi8-r"), path=path)

    assert "сообщение" in found.blocks[-1].text
    assert "encoding" not in found.origins


@pytest.mark.parametrize("path", ["x.md", "x.html", "x.txt"])
def test_a_guessed_encoding_is_an_origin(path):
    assert md("Frau Müller".encode("cp1252"), path=path).origins["encoding"] == (
        "guessed: windows-1252 (doubtful)"
    )
    assert "encoding" not in md("Frau Müller", path=path).origins


def test_the_charset_of_a_media_type_is_believed():
    data = "сообщение".encode("koi8-r")

    assert md(data, media_type="text/plain; charset=KOI8-R").blocks[0].text == "сообщение"


@pytest.mark.parametrize("path", ["x.md", "x.html", "x.txt"])
def test_line_ends_trailing_blanks_and_empty_lines_do_not_matter(path):
    text = "# A\n\none\ntwo\n\n\n\n```\ncode\n\n\nmore\n```\n\n- a\n- b\n"
    other = text.replace("\n", " \t\r\n").replace("two", "two\u00a0")

    assert md(other, path=path) == md(text, path=path)
    assert md(text.replace("\n", "\r"), path=path) == md(text, path=path)


@given(st.binary(), st.sampled_from(["x.md", "x.html", "x.txt", "x"]))
def test_any_bytes_are_read_or_refused(data, path):
    try:
        extracted = md(data, path=path)
    except DocumentRefused:
        return
    texts = [extracted.title, *(b.text for b in extracted.blocks)]

    assert all(text.encode() is not None for text in texts)
    assert not any(c in text for text in texts for c in "\0\r\x1b")
    assert all(block.text for block in extracted.blocks)


@given(st.text(st.sampled_from("#-*>|`~[]()<!=_{}%: \n\tab1."), max_size=200))
def test_any_markdown_keeps_its_words(text):
    try:
        extracted = md(text)
    except DocumentRefused:
        return

    assert all(block.text.strip() for block in extracted.blocks)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        pytest.param(
            "<h1>A</h1><p>text</p><footer><p>© Firm</p><ul><li>Terms</li></ul></footer>",
            [("text", ("A",)), ("© Firm", ("footer",)), ("- Terms", ("footer",))],
            id="of the page",
        ),
        pytest.param(
            "<article><h1>A</h1><p>text</p><footer>by Ann</footer></article>",
            [("text", ("A",)), ("by Ann", ("A",))],
            id="of an article",
        ),
        pytest.param(
            "<h1>A</h1><footer>one<h2>Contact</h2><p>us</p></footer><p>after</p>",
            [("one", ("footer",)), ("us", ("A", "Contact")), ("after", ("A", "Contact"))],
            id="with a heading",
        ),
        pytest.param(
            "<h1>A</h1><footer>one</footer><p>after</p>",
            [("one", ("footer",)), ("after", ("A",))],
            id="in the middle",
        ),
        pytest.param(
            "<h1>A</h1><table><tr><td>x<footer>y</footer></td></tr></table><p>after</p>",
            [("x y", ("A",)), ("after", ("A",))],
            id="in a table",
        ),
    ],
)
def test_the_footer_of_a_page_is_no_part_of_its_last_section(page, expected):
    found = extract(page.encode(), path="a.html", media_type=None, title=None)

    assert [(b.text, b.path) for b in found.blocks if b.kind != "heading"] == expected
