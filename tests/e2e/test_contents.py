"""Attachments of mail and records of lists as documents, and the command line as processes."""

import json

import pytest
from mails import message
from office_files import docx

ROWS = ["id,title,text,is_active", "1,Apple,a red fruit,1", "2,Pear,a green fruit,1"]
LINES = [{"id": "n-1", "name": "Lamp", "text": "a lantern"}, {"id": "n-2", "text": "a beacon"}]


@pytest.fixture
def docs(instep):
    """A folder with a message that has a document attached, a table, and lines of JSON."""
    (instep.cwd / "instep.toml").write_text('[sources.docs]\npath = "./docs"\nrecords = true\n')
    made = instep.cwd / "docs"
    made.mkdir()
    report = docx(lambda document: document.add_paragraph("The harbour is closed."))
    (made / "mail.eml").write_bytes(message(report__docx=report))
    rows(made, *ROWS)
    (made / "notes.jsonl").write_text("".join(json.dumps(one) + "\n" for one in LINES))
    return made


def rows(docs, *lines):
    (docs / "fruit.csv").write_text("\n".join(lines) + "\n")


def worded(instep, word):
    """Paths of the documents that have this word."""
    answer = instep.json("search", word, "-n", 50, "--mode", "keyword")
    return sorted(hit["document"]["path"] for hit in answer["hits"])


def once(instep, status=0):
    """The texts that a run has embedded."""
    return instep.json("up", "--once", status=(status,))["chunks"]["embedded"]


def test_an_inactive_record_is_not_found_and_active_again_without_the_model(instep, docs):
    once(instep)
    rows(docs, *ROWS[:2], "2,Pear,a green fruit,no")
    assert once(instep) == 0
    assert worded(instep, "green") == []
    assert instep.json("show", "docs/fruit.csv#2")["state"] == "inactive"

    rows(docs, *ROWS)
    assert once(instep) == 0
    assert worded(instep, "green") == ["fruit.csv#2"]


def test_the_progress_names_the_source_that_only_the_settings_name(instep, docs):
    run = instep("up", "--once")
    found = [line for line in (run.stdout + run.stderr).splitlines() if " found " in line]

    assert found
    assert all(line.startswith("docs ") for line in found)
