"""Attachments of mail and records of lists as documents, and the command line as processes."""

import json

import pytest
from instep_process import wait_until
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
    (made / "mail.eml").write_bytes(message(report__docx=report("The harbour is closed.")))
    rows(made, *ROWS)
    (made / "notes.jsonl").write_text("".join(json.dumps(one) + "\n" for one in LINES))
    return made


def report(text):
    return docx(lambda document: document.add_paragraph(text))


def rows(docs, *lines):
    (docs / "fruit.csv").write_text("\n".join(lines) + "\n")


def worded(instep, word):
    """Paths of the documents that have this word."""
    answer = instep.json("search", word, "-n", 50, "--mode", "keyword")
    return sorted(hit["document"]["path"] for hit in answer["hits"])


def once(instep, status=0):
    """The texts that a run has embedded."""
    return instep.json("up", "--once", status=(status,))["chunks"]["embedded"]


def test_the_progress_names_the_source_that_only_the_settings_name(instep, docs):
    run = instep("up", "--once")
    found = [line for line in (run.stdout + run.stderr).splitlines() if " found " in line]

    assert found
    assert all(line.startswith("docs ") for line in found)


def test_attachments_and_records_follow_their_file_while_it_is_watched(instep, docs):
    instep.up()

    def finds(word, *paths):
        wait_until(lambda: worded(instep, word) == sorted(paths))

    finds("harbour", "mail.eml#report.docx")
    finds("lantern", "notes.jsonl#n-1")
    finds("fruit", "fruit.csv#1", "fruit.csv#2")
    (chunk,) = instep.json("show", "docs/fruit.csv#1")["chunks"]
    assert chunk["embedded"] == "Apple Apple\ntext: a red fruit"

    rows(docs, ROWS[0], "1,Apple,a yellow fruit,1", ROWS[2], "3,Fig,a purple fruit,1")
    (docs / "mail.eml").write_bytes(message(report__docx=report("The quay is open.")))
    finds("yellow", "fruit.csv#1")
    finds("purple", "fruit.csv#3")
    finds("quay", "mail.eml#report.docx")
    assert (worded(instep, "red"), worded(instep, "harbour")) == ([], [])

    (docs / "fruit.csv").rename(docs / "moved.csv")
    (docs / "mail.eml").rename(docs / "moved.eml")
    finds("fruit", "moved.csv#1", "moved.csv#2", "moved.csv#3")
    finds("quay", "moved.eml#report.docx")

    (docs / "moved.csv").write_text(f"{ROWS[0]}\n")
    (docs / "moved.eml").unlink()
    finds("fruit")
    finds("quay")
    finds("lantern", "notes.jsonl#n-1")


def test_runs_encode_what_has_changed_and_neither_moves_nor_activity(instep, docs):
    assert once(instep) == 6
    rows(docs, ROWS[0], "1,Apple,a yellow fruit,1", "2,Pear,a green fruit,no")
    assert once(instep) == 1
    assert (worded(instep, "fruit"), worded(instep, "green")) == (["fruit.csv#1"], [])
    assert instep.json("show", "docs/fruit.csv#2")["state"] == "inactive"

    rows(docs, ROWS[0], "1,Apple,a yellow fruit,1", ROWS[2])
    (docs / "fruit.csv").rename(docs / "moved.csv")
    (docs / "mail.eml").rename(docs / "moved.eml")
    assert once(instep) == 0
    assert worded(instep, "fruit") == ["moved.csv#1", "moved.csv#2"]
    assert worded(instep, "harbour") == ["moved.eml#report.docx"]


def test_a_damaged_table_is_told_and_its_records_stay_beside_all_others(instep, docs):
    once(instep)
    rows(docs, "id,text,text", "1,a,b")
    (docs / "other.csv").write_text("id,text\n1,a lighthouse\n")

    done = instep("up", "--once")

    assert "two columns have one name" in done.stdout + done.stderr
    assert worded(instep, "fruit") == ["fruit.csv#1", "fruit.csv#2"]
    assert worded(instep, "lighthouse") == ["other.csv#1"]
