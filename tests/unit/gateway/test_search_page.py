"""What the page of questions shows: the form, excerpts, bars of scores, commands."""

import json
import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.parser import parse
from services.gateway.pages.search.copy_as import as_command, as_curl, as_python
from services.gateway.pages.search.form import form_of, places_of
from services.gateway.pages.search.hits import EXCERPT, bar, excerpt
from services.gateway.problems import Fault, Problem
from services.gateway.search.question import highlights, parse_question
from services.gateway.views import PartView


def part(adds):
    return PartView(raw=0.5, normalised=0.5, weight=0.5, adds=adds)


def test_parts_of_a_score_stand_side_by_side_in_a_known_order():
    parts = bar({"phrase": part(0.05), "keyword": part(0.2), "vector": part(0.5)})
    assert [one.name for one in parts] == ["vector", "keyword", "phrase"]
    assert [(one.start, one.width) for one in parts] == [(0, 500), (500, 200), (700, 50)]


def test_a_part_that_takes_away_covers_the_end_of_those_that_add():
    parts = bar({"repeated": part(-0.3), "vector": part(0.6)})
    assert [(one.name, one.start, one.width, one.takes) for one in parts] == [
        ("vector", 0, 600, False),
        ("repeated", 300, 300, True),
    ]


def test_a_part_that_this_version_does_not_know_is_shown_by_its_name():
    assert [one.label for one in bar({"novelty": part(0.1), "title": part(0.1)})] == [
        "Title",
        "novelty",
    ]


@given(st.text(alphabet="ab \n<é", max_size=2_000))
def test_an_excerpt_is_a_part_of_the_text_and_marks_whole_words(text):
    marks = highlights(parse_question("ab"), text)
    pieces, before, after = excerpt(text, marks)
    joined = "".join(piece.text for piece in pieces)
    flat = "".join(" " if c.isspace() else c for c in text)
    assert joined in flat
    assert len(joined) <= EXCERPT
    assert (joined == flat) == (not before and not after)
    assert all(piece.text == "ab" for piece in pieces if piece.marked)
    assert not marks or any(piece.marked for piece in pieces)


def test_an_excerpt_begins_before_the_first_word_that_is_asked_for():
    text = "word " * 400 + "needle " + "word " * 400
    pieces, before, after = excerpt(text, highlights(parse_question("needle"), text))
    assert before
    assert after
    assert [piece.text for piece in pieces if piece.marked] == ["needle"]


def test_a_form_gives_the_fields_that_were_entered():
    form = form_of(
        {"q": " a b", "mode": "vector", "limit": "", "source": "docs", "title": "0.2", "x": "y"}
    )
    assert form.search_fields() == {
        "q": " a b",
        "mode": "vector",
        "source": ("docs",),
        "weights": {"title": "0.2"},
    }


@pytest.mark.parametrize(
    ("problem", "place"),
    [
        (Problem("invalid_request", "x", faults=(Fault("/limit", "c", "too many"),)), "limit"),
        (
            Problem("invalid_request", "x", faults=(Fault("/weights/vector", "c", "no"),)),
            "weights",
        ),
        (Problem("invalid_filter", "x", faults=(Fault("/filter/all", "c", "no"),)), "filter"),
        (Problem("invalid_filter", "x"), "filter"),
        (Problem("invalid_request", "one of the weights vector and keyword"), "weights"),
        (Problem("store_unavailable", "the store does not answer"), "page"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(problem, place):
    assert [*places_of(problem)] == [place]


QUESTION = {
    "q": 'it\'s "quoted" $HOME `ls`',
    "mode": "hybrid",
    "limit": "7",
    "filter": "path:guide/ -draft",
    "source": ("docs",),
    "weights": {"vector": "0.6", "title": "0.1"},
}


def test_a_question_as_curl_is_the_same_question():
    command = as_curl(QUESTION, "http://127.0.0.1:8765", needs_key=False)
    words = shlex.split(command.replace("\\\n", ""))
    assert words[1] == "http://127.0.0.1:8765/api/v1/search"
    assert json.loads(words[3]) == {
        **QUESTION,
        "limit": 7,
        "source": ["docs"],
        "weights": {"vector": 0.6, "title": 0.1},
    }


@pytest.mark.parametrize("q", [QUESTION["q"], "-n", "--explain of what"])
def test_a_question_as_a_command_is_the_same_question(q):
    words = shlex.split(as_command({**QUESTION, "q": q}))
    args = parse(words[1:])
    assert args.query == [q]
    assert (args.mode, args.limit, args.filter) == ("hybrid", 7, "path:guide/ -draft")
    assert (args.source, args.weight) == (["docs"], ["vector=0.6", "title=0.1"])


def test_a_question_as_python_is_the_same_question():
    program = as_python(QUESTION).replace("from instep.client import Client", FAKE)
    found = subprocess.run(
        ["python3", "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(found.stdout) == [
        [QUESTION["q"]],
        {
            "mode": "hybrid",
            "limit": 7,
            "filter": "path:guide/ -draft",
            "source": ["docs"],
            "weights": {"vector": 0.6, "title": 0.1},
        },
    ]


FAKE = """
import json
class Client:
    hits = ()
    def search(self, *args, **fields):
        print(json.dumps([args, fields]))
        return self
"""


def test_similar_documents_as_commands():
    fields = {"name": "docs/a b.md", "limit": "3"}
    assert shlex.split(as_command(fields)) == ["instep", "similar", "-n", "3", "docs/a b.md"]
    address = shlex.split(as_curl(fields, "http://h", needs_key=False))[1]
    assert address == "http://h/api/v1/documents/docs/a%20b.md/similar?limit=3"
