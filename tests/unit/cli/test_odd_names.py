"""Names and texts with characters that would move the cursor or turn a line around."""

import json

import pytest
from gateway_world import NOW, Index
from hypothesis import given
from hypothesis import strategies as st

from services.cli.commands import failures, removals, search, show
from services.cli.terminal import Terminal, shorten_path, tame, visible
from services.cli.text import status
from services.cli.up.frame import news
from services.gateway.models import DocumentRequest, FailuresRequest, SearchRequest
from shared.domain.ordering import Reason
from shared.observe.progress import Activity

NAME = "a\n\x1b[2J\u202ex\u2028.md"
SHOWN = r"a\n\x1b[2J\u202ex\u2028.md"
TEXT = "credential \x1b[31mred\u202e \x07bell"
WIDE = Terminal(width=200)
BREAKING = ("\x1b", "\u202e", "\u2028", "\x07", "\r", "a\n")


def broken(lines):
    return [(line, c) for line in lines for c in BREAKING if c in line]


@pytest.fixture
async def index():
    index = Index()
    await index.put(NAME, [TEXT])
    await index.put("b.md", [TEXT])
    await index.put(f"r{NAME}", [], outcome="refused", reason=Reason("empty", f"of {NAME}"))
    return index


async def asked(index, name, request=None):
    method = getattr(index.queries, name)
    answer = await (method(request) if request else method())
    return json.loads(answer.model_dump_json())


async def test_no_listing_of_documents_is_broken(index):
    found = await asked(index, "search", SearchRequest(q="credential", highlight=True))
    failed = await asked(index, "failures", FailuresRequest())
    one = await asked(index, "document", DocumentRequest(name=f"docs/{NAME}", chunks=True))
    lines = [
        *search.lines(found, WIDE, now=NOW),
        *failures.lines(failed, WIDE, now=NOW),
        *show.lines(one, WIDE, now=NOW),
        *show.lines(one, WIDE, now=NOW, full=True),
    ]
    listed = "\n".join(lines)

    assert broken(lines) == []
    assert f"docs/{SHOWN}" in listed
    assert f"docs/r{SHOWN}" in listed


def test_holds_sources_and_news_are_not_broken():
    hold = {"source": "docs", "since": None, "vanished": 1, "of": 1, "kept": False}
    problems = {NAME: f"{NAME}: denied"}
    source = {
        "name": "docs",
        "error": f"/{NAME}: gone",
        "problems": problems,
        "problem_count": 9,
        "left_out": {f".{NAME}": 1},
    }
    item = {"id": "f_1", "document": f"docs/{NAME}", "done": True, "detail": ""}
    chosen = {"items": [item], "dry_run": False, "done": 1, "skipped": 0}
    lines = [
        *failures.chosen(chosen, "retried"),
        *removals.lines({"holds": [hold | {"sample": [NAME]}]}, WIDE, now=NOW),
        *status._wrong(source, WIDE),
        news(Activity("notice", NAME, f"{NAME}: denied"), "12:00:00", 200),
        news(Activity("moved", NAME, f"{NAME} -> {NAME}"), "12:00:00", 200),
    ]

    assert broken(lines) == []
    assert sum(SHOWN in line for line in lines) == 7
    assert "and 8 more paths of docs" in lines


def test_ordinary_names_are_shown_as_they_are():
    names = ("with space.md", "\u00e9\u00fc\u4e2d.md", "\U0001f469\u200d\U0001f52c.md", "a\\n.md")

    assert [visible(name) for name in names] == list(names)


@given(st.text())
def test_what_is_shown_is_one_line_that_can_be_printed(text):
    for shown in (visible(text), tame(text), shorten_path(text, 20)):
        shown.encode()

        assert len((shown + "x").splitlines()) == 1
    assert len(tame(text)) == len(text)
