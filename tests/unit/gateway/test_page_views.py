"""What pages say and show: the first line, what needs a person, differences, odd names, nothing."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from aiohttp.test_utils import TestClient, TestServer
from gateway_world import Index
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.app import build_app
from services.gateway.models import SourceView, StatusAnswer, SweepView
from services.gateway.pages.differences import changes, marked_words
from services.gateway.pages.overview import headline, needs
from services.gateway.pages.render import render
from services.gateway.pages.words import ago, badge, notice, plural, prose, sentence, took
from services.gateway.problems import Problem
from services.gateway.views import DiffChunk, FailureGroup, HoldView
from shared.domain.errors import StillLoading, StoreUnavailable

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def status(**changed):
    usual = {
        "in_step": True,
        "pending_documents": 0,
        "watermark": AT,
        "stages": (),
        "documents": {},
        "chunks": 0,
        "generation": "g",
        "version": "1",
        "at": AT,
    }
    return StatusAnswer.model_validate(usual | changed)


@pytest.mark.parametrize(
    ("changed", "waiting", "kind", "words", "more"),
    [
        ({}, 0, "good", "In step", "every change known before"),
        ({}, 2, "good", "In step", "2 things need you"),
        ({"in_step": False, "pending_documents": 3, "oldest_pending_s": 1.4}, 0, "info",
         "Catching up: 3 documents pending", "the oldest for 1.40 s"),
        ({"in_step": False}, 1, "warn", "Not in step", "1 thing needs you"),
        ({"in_step": False}, 0, "info", "Looking at the sources", ""),
        ({"in_step": False, "runs": False, "in_step_as_of": AT}, 1, "bad", "No instance runs",
         "It was in step at"),
    ],
)  # fmt: skip
def test_the_first_line_says_whether_it_is_in_step(changed, waiting, kind, words, more):
    found = headline(status(**changed), waiting, is_whole=True)

    assert (found.kind, found.words) == (kind, words)
    assert more in found.more


def test_a_reader_of_some_sources_is_not_told_that_all_is_in_step():
    found = headline(status(in_step=False, watermark=None), 0, is_whole=False)

    assert found.words == "Nothing of your sources is pending"


def test_nothing_is_needed_of_a_person_while_all_is_well():
    assert needs(status(sources=(SourceView(name="docs", kind="folder"),)), (), ()) == []


def test_all_that_waits_for_a_person_is_listed_with_the_way_to_it():
    sources = (
        SourceView(name="a", kind="folder", error="it is not there"),
        SourceView(name="b", kind="folder", problem_count=2),
        SourceView(name="c", kind="folder", given=False),
    )
    hold = HoldView(source="d", since=AT, vanished=20, of=30, sample=(), kept=False)
    group = FailureGroup(code="empty", state="refused", count=1, meaning="it is", fix="fill it")
    found = needs(
        status(
            runs=False,
            sources=sources,
            loading={"model": "it is read"},
            last_sweep=SweepView(at=AT, repaired=0, needs_you=True),
        ),
        [hold, hold.model_copy(update={"kept": True})],
        [group],
    )

    assert [need.href for need in found] == [
        "/sources",
        "/",
        "/failures",
        "/sources/a",
        "/sources/b",
        "/sources/c",
        "/removals",
        "/failures?code=empty&state=refused",
    ]


# -- differences


def chunk(n, text):
    return DiffChunk(n=n, text=text)


def test_words_that_only_one_side_has_are_marked():
    old, new = marked_words("rotate the <old> key", "rotate the <new> key now")

    assert old == "rotate the &lt;<del>old</del>&gt; key"
    assert new == "rotate the &lt;<ins>new</ins>&gt; key<ins> now</ins>"


@given(st.text(max_size=60), st.text(max_size=60))
def test_without_its_marks_a_side_is_the_text_itself(old, new):
    before, after = marked_words(old, new)

    for shown, text, tag in ((before, old, "del"), (after, new, "ins")):
        assert shown.replace(f"<{tag}>", "").replace(f"</{tag}>", "") == prose(text)


def test_long_texts_that_differ_everywhere_are_marked_whole():
    old, new = marked_words(" ".join("a" * 3_000), " ".join("b" * 3_000))

    assert (old.count("<del>"), new.count("<ins>")) == (1, 1)


def test_chunks_are_beside_those_that_they_take_the_place_of():
    removed = [chunk(1, "the harbour lantern"), chunk(2, "one two three four"), chunk(3, None)]
    found = changes(removed, [chunk(1, "one two three five"), chunk(2, "all else")])

    pairs = [(one.old and one.old.n, one.new and one.new.n) for one in found]
    assert pairs == [(2, 1), (None, 2), (1, None), (3, None)]


def test_a_chunk_that_is_not_written_yet_is_beside_what_nothing_else_resembles():
    removed = [chunk(1, "one two three"), chunk(2, "the harbour")]
    found = changes(removed, [chunk(1, None), chunk(2, "one two three four")])

    assert [(one.old.n, one.new.n, one.new_text) for one in found] == [
        (2, 1, ""),
        (1, 2, "one two three<ins> four</ins>"),
    ]
    assert found[0].old_text == "the harbour"  # without marks: what takes its place is not known


# -- words


def test_the_address_of_a_page_cannot_make_it_say_anything_else():
    assert notice({"did": "retry", "done": "2", "skipped": "1"}) == (
        "2 documents sent again; 1 left as they were."
    )
    for query in ({}, {"did": "<b>"}, {"did": "retry", "done": "9" * 30}):
        assert notice(query) in ("", "0 documents sent again.")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.2, "just now"),
        (12, "12 s ago"),
        (300, "5 min ago"),
        (7300, "2 h ago"),
        (2e5, "2 days ago"),
    ],
)
def test_an_age_is_told_in_one_unit(seconds, told):
    assert ago(AT - timedelta(seconds=seconds), AT) == told


def test_numbers_and_clauses_are_told_as_people_tell_them():
    assert (plural(1, "batch", "batches"), plural(1204, "batch", "batches")) == (
        "1 batch",
        "1,204 batches",
    )
    assert (took(0.62), took(47.2), took(None)) == ("620 ms", "47.2 s", "-")
    assert sentence("it is open") == "It is open."
    assert sentence("instep doctor") == "instep doctor."
    assert "stale" in badge("searchable", stale=True)


# -- documents with odd names, and pages with nothing

LONG = "a" * 300
RTL = "\u05de\u05e1\u05de\u05da.md"
ODD = ("<script>alert(1)</script>.md", f"{LONG}.md", RTL, 'a"onload="x.md', "a\u202etxt.md")
TEXT = "<img src=x onerror=alert(2)>\n\u05e9\u05dc\u05d5\u05dd \u202e & end"
EMPTY = ("/", "/documents", "/failures", "/removals", "/sources", "/batches")


class Tags(HTMLParser):
    """All that is markup, and all that is text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


@pytest.fixture
async def index():
    return Index()


async def shown(index, path, **more):
    async with TestClient(TestServer(build_app(index.queries, index.commands))) as client:
        response = await client.get(path, headers={"Accept": "text/html", **more})
        return response.status, await response.text()


@pytest.mark.parametrize("path", EMPTY)
async def test_a_page_with_nothing_in_it_says_so(index, path):
    code, page = await shown(index, path)

    assert code == 200
    assert "<h1>" in page.replace("\n", "")
    assert "None" not in page


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_name_and_an_odd_text_are_text_on_every_page(index, name):
    key, _ = await index.put(name, [TEXT, "kelp forests"])
    await index.begin(name, [TEXT.replace("end", "other")])
    await index.fail(name)
    for path in ("/documents", "/failures", f"/documents/{key}", f"/documents/{key}?show=diff"):
        code, page = await shown(index, path)
        found = Tags(page)

        assert code == 200
        assert found.tags.isdisjoint({"img", "b"})
        assert not {one for one in found.attributes if one.startswith("on")}
        assert page.count("<script") == 1  # that of the page itself
        assert "\u202e" not in page
        assert name.replace("\u202e", "\\u202e") in found.text


def test_a_problem_tells_its_words_as_text():
    body = Problem("not_found", "<b>no</b>").body("id")
    page = render("problem.html", frame=None, problem=body, again=True)

    assert "&lt;b&gt;no&lt;/b&gt;" in page


@pytest.mark.parametrize("show", ["chunks", "diff", "similar"])
@pytest.mark.parametrize("error", [StoreUnavailable("down"), StillLoading("it is read")])
async def test_a_document_is_shown_while_the_store_is_away(index, show, error):
    key, _ = await index.put("a.md", ["kelp forests"])

    async def away():
        raise error

    index.queries.store = away
    index.search.store = away
    code, page = await shown(index, f"/documents/{key}?show={show}")

    assert code == 200
    assert "search shows its newest version" in page.lower()
    assert "when the store is back" in page


async def test_a_page_that_follows_by_itself_reads_no_texts(index):
    key, _ = await index.put("a.md", ["kelp forests"])
    _, whole = await shown(index, f"/documents/{key}")
    _, live = await shown(index, f"/documents/{key}", **{"Instep-Live": "1"})

    assert "kelp forests" in whole
    assert "kelp forests" not in live
    parts = [re.findall(r'data-live="state">.*?</div>', page, re.DOTALL) for page in (whole, live)]
    assert parts[0] == parts[1] != []


@pytest.mark.parametrize("place", ["50", "999999", "x", "-1"])
async def test_a_place_behind_the_last_chunk_shows_the_first(index, place):
    key, _ = await index.put("a.md", ["kelp forests"])
    _, page = await shown(index, f"/documents/{key}?from={place}")

    assert "kelp forests" in page
