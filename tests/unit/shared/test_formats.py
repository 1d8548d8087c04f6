"""One table says which endings a folder lists, and how each of them is read."""

import ast
from pathlib import Path
from typing import get_args

import office_files as made
import pytest

from services.producer.sources.rules import Rules
from shared.domain.formats import (
    BY_ENDING,
    KINDS_TOLD,
    LINKS,
    OTHERS,
    SPECIAL,
    Format,
    ending,
    in_words,
    kind_of,
    most_common,
)
from shared.formats.extract import extract

ROOT = Path(__file__).parents[3]
READ_AS = {
    "markdown": (b"# Head\n\nword", ["Head", "word"]),
    "html": (b"<h1>Head</h1><p>word</p>", ["Head", "word"]),
    "text": (b"# Head\n\n<p>*word*", ["# Head", "<p>*word*"]),
    "csv": (b"part,price\nbolt,3\n", ["part | price\nbolt | 3"]),
    "pdf": (made.pdf([[(11, 700, "word")]]), ["page 1", "word"]),
    "docx": (made.docx(lambda document: document.add_paragraph("word")), ["word"]),
    "pptx": (made.pptx([[made.shape("title", "Head")]]), ["slide 1", "Head"]),
    "sheets": (made.xlsx({"Sheet": [["word"]]}), ["Sheet", "word"]),
    "odt": (made.odt("<text:p>word</text:p>"), ["word"]),
    "epub": (made.epub(["<p>word</p>"]), ["word"]),
    "rtf": (b"{\\rtf1 word}", ["word"]),
    "mail": (b"Subject: Head\n\nword", ["word"]),
    "json": (b'{"Head": "word"}', ["Head: word"]),
    "xml": (b"<a><Head>word</Head></a>", ["a:\n  Head: word"]),
    "settings": (b"Head: word", ["Head: word"]),
    "rst": (b"Head\n====\n\n*word*", ["Head", "word"]),
    "adoc": (b"= Head\n\n*word*", ["Head", "word"]),
    "code": (b"Head = word", ["Head = word"]),
    "notebook": (b'{"cells": [{"cell_type": "code", "source": "word"}]}', ["word"]),
}


def literals():
    """Every collection of strings that the code spells out: its file, line and strings."""
    for file in [*ROOT.glob("services/**/*.py"), *ROOT.glob("shared/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
                parts = node.keys if isinstance(node, ast.Dict) else node.elts
                strings = {p.value for p in parts if isinstance(p, ast.Constant)}
                yield file.relative_to(ROOT).as_posix(), node.lineno, strings


@pytest.mark.parametrize("known", BY_ENDING)
def test_an_ending_that_a_folder_lists_is_read_in_its_format(known):
    data, texts = READ_AS[BY_ENDING[known]]

    path = f"a{known}" if known.startswith(".") else f"a/{known.title()}"
    found = extract(data, path=path, media_type=None, title=None)

    assert Rules().why_not_file(path, ()) is None
    assert [block.text for block in found.blocks] == texts


def test_endings_are_listed_in_one_place():
    # the endings of code and data also stand where other files are named
    documents = set(get_args(Format)) - {"code", "settings", "json", "xml"}
    known = {one for one, format_ in BY_ENDING.items() if one[0] == "." and format_ in documents}
    known |= {one[1:] for one in known} - set(get_args(Format))  # the names of formats
    places = {file for file, _, strings in literals() if len(strings & known) > 1}

    assert places == {"shared/domain/formats.py"}


def test_a_name_tells_a_format_only_where_it_has_no_ending():
    assert ending("a/Makefile") == "makefile"
    assert [ending(path) for path in ("makefile.d", "readme.MD", "a", ".py")] == [
        ".d",
        ".md",
        "",
        "",
    ]
    assert kind_of("a/Makefile") == ""


def test_the_most_frequent_endings_are_told_and_the_others_counted():
    counts = {f".{n}": n for n in range(1, KINDS_TOLD + 4)}

    told = most_common(counts)

    assert len(told) == KINDS_TOLD + 1
    assert sum(told.values()) == sum(counts.values())
    assert list(told.values())[:-1] == sorted(counts.values(), reverse=True)[:KINDS_TOLD]
    assert most_common({}) == {}


def test_endings_in_words():
    counts = {".png": 1200, "": 2, OTHERS: 4, LINKS: 1, SPECIAL: 2}
    told = "1,200 .png, 2 without an ending, 4 others, 1 link not followed, 2 special files"

    assert in_words(counts) == told
