import pytest

from shared.formats.blocks import MAX_LINE_TITLE, titled
from shared.formats.extract import extract

WORDS = [f"word{n}" for n in range(60)]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ("# {}\n\nbody", "x.md"),
        ("{}\n===\n\nbody", "x.md"),
        ("<h1>{}</h1><p>body</p>", "x.html"),
        ("body\n\n<h2>{}</h2>\n", "x.md"),
    ],
)
@pytest.mark.parametrize("between", [" ", " " * 300], ids=["long", "wide"])
def test_a_heading_that_is_too_long_is_shortened_and_its_words_stay_in_the_text(
    document, path, between
):
    data = document.format(between.join(WORDS)).encode()

    blocks = extract(data, path=path, media_type=None, title=None).blocks

    heading = next(block for block in blocks if block.kind == "heading")
    assert len(heading.text) <= MAX_LINE_TITLE + 1
    assert heading.text.startswith("word0 word1 ")
    kept = " ".join(block.text for block in blocks if block.kind == "paragraph")
    assert set(WORDS) <= set(kept.split())


@pytest.mark.parametrize("text", ["short", "two\nlines", "x" * MAX_LINE_TITLE])
def test_a_heading_that_fits_is_not_repeated_as_text(text):
    assert [block.kind for block in titled(text, 2)] == ["heading"]


def test_a_blank_heading_is_none():
    assert titled(" \n\u200b", 1) == []
