"""A folder with a document of each format: each is found, edited, deleted, moved and emptied."""

import json

import office_files as made
import pytest
from instep_process import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.nats, pytest.mark.stores]

WORD = "zanzibar{}"


def of_each(word: str) -> dict[str, bytes]:
    """A document of each format that holds the word."""
    return {
        "note.md": f"# Note\n\nThe word is {word}.".encode(),
        "page.html": f"<h1>Page</h1><p>The word is {word}.</p>".encode(),
        "plain.txt": f"The word is {word}.".encode(),
        "table.csv": f"part,price\n{word},3\n".encode(),
        "paper.pdf": made.pdf([[(18, 720, "Paper"), (11, 690, f"The word is {word}.")]]),
        "letter.docx": made.docx(lambda d: d.add_paragraph(f"The word is {word}.")),
        "talk.pptx": made.pptx([[made.shape("title", "Talk"), made.shape("body", word)]]),
        "sheet.xlsx": made.xlsx({"Sheet": [["part", "price"], [word, 3]]}),
        "text.odt": made.odt(f"<text:p>The word is {word}.</text:p>"),
        "book.epub": made.epub([f"<h1>Book</h1><p>The word is {word}.</p>"]),
        "old.rtf": f"{{\\rtf1 The word is {word}.}}".encode(),
        "letter.eml": f"Subject: Letter\n\nThe word is {word}.".encode(),
        "trial.ipynb": json.dumps(
            {"cells": [{"cell_type": "markdown", "source": f"The word is {word}."}]}
        ).encode(),
        "values.json": json.dumps({"word": word, "price": 3}).encode(),
        "events.jsonl": f'{{"word": "{word}"}}\n{{"word": "other"}}\n'.encode(),
        "feed.xml": f"<feed><entry><title>Word</title><p>{word}</p></entry></feed>".encode(),
        "settings.yaml": f"# about\nword: {word}\n".encode(),
        "page.rst": f"Page\n====\n\nThe word is *{word}*.\n".encode(),
        "page.adoc": f"= Page\n\nThe word is *{word}*.\n".encode(),
        "tool.py": f"def tool():\n    return '{word}'\n".encode(),
        "Makefile": f"all:\n\techo {word}\n".encode(),
        "README": f"The word is {word}.".encode(),
    }


def found(instep, word):
    answer = instep.json("search", word, "--mode", "keyword", "-n", "50")
    return {hit["document"]["path"] for hit in answer["hits"] if word in hit["chunk"]["text"]}


def test_every_format_is_indexed_edited_deleted_moved_and_emptied(instep):
    docs = instep.cwd / "docs"
    docs.mkdir(exist_ok=True)
    first, second = (of_each(WORD.format(letter)) for letter in "ab")
    for name, data in first.items():
        (docs / name).write_bytes(data)
    instep.up("docs", "--port", 0)
    wait_until(lambda: found(instep, WORD.format("a")) == set(first))

    for name, data in second.items():
        (docs / name).write_bytes(data)
    wait_until(lambda: found(instep, WORD.format("b")) == set(second))
    assert found(instep, WORD.format("a")) == set()

    (docs / "talk.pptx").unlink()  # first: so many moves would hold it
    del second["talk.pptx"]
    wait_until(lambda: found(instep, WORD.format("b")) == set(second))

    (docs / "moved").mkdir()
    for name in second:
        (docs / name).rename(docs / "moved" / name)
    moved = {f"moved/{name}" for name in second}
    wait_until(lambda: found(instep, WORD.format("b")) == moved)
    shown = {name: instep.json("show", f"docs/moved/{name}") for name in second}
    assert {name for name, one in shown.items() if one["served"]["encoded"]} == set()

    emptied = {"moved/paper.pdf", "moved/letter.docx"}
    for path in emptied:
        (docs / path).write_bytes(b"")
    wait_until(lambda: instep.json("show", f"docs/{min(emptied)}")["state"] == "refused")
    wait_until(lambda: instep.json("show", "docs/moved/paper.pdf")["state"] == "refused")
    assert instep.json("show", "docs/moved/paper.pdf")["reason"]["code"] == "empty"


def test_what_cannot_be_read_says_why_and_harms_nothing_else(instep):
    docs = instep.cwd / "docs"
    docs.mkdir(exist_ok=True)
    refused = {
        "scan.pdf": (made.pdf([[], []]), "no_text"),
        "locked.pdf": (made.pdf([[(11, 700, "x")]], password="pw"), "encrypted"),
        "cut.docx": (made.docx(lambda d: d.add_paragraph("x"))[:2000], "corrupt"),
        "bomb.odt": (made.zipped({"content.xml": b" " * 50_000_000}), "too_large"),
        "archive.txt": (made.zipped({"a.txt": "x"}), "unknown_format"),
    }
    for name, (data, _) in refused.items():
        (docs / name).write_bytes(data)
    (docs / "good.pdf").write_bytes(made.pdf([[(11, 700, "the word is zanzibara")]]))
    instep.up("docs", "--port", 0)

    wait_until(lambda: found(instep, "zanzibara") == {"good.pdf"})
    for name, (_, code) in refused.items():
        wait_until(lambda name=name: instep.json("show", f"docs/{name}")["state"] == "refused")
        assert instep.json("show", f"docs/{name}")["reason"]["code"] == code, name
