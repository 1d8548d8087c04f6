import json
from datetime import UTC, datetime

import pytest
from gateway_world import NOW, Index
from hypothesis import given
from hypothesis import strategies as st

from services.cli.commands import failures, search, show
from services.cli.terminal import Terminal, ago, clock, number, seconds, shorten_path, table
from services.cli.text import checks, status
from services.gateway.models import (
    DocumentRequest,
    DocumentsRequest,
    FailuresRequest,
    SearchRequest,
)
from services.gateway.status.status import StageSeen
from shared.domain.ordering import Reason

NARROW = Terminal(width=80)
COLOR = Terminal(width=80, color=True)


@pytest.fixture
async def index():
    index = Index()
    text = "To rotate a credential, create the new key first, then take the old one away. " * 4
    await index.put("ops/keys.md", [text, "second part"])
    await index.put("faq.md", ["where credentials are kept"])
    reason = Reason("corrupt", "it cannot be read")
    await index.put("faq.md", [], outcome="refused", reason=reason)
    await index.begin("new.md", ["not searchable yet"])
    await index.begin("broken.md", ["broken"])
    await index.fail("broken.md")
    index.stages = [
        StageSeen("accept", 0, 0, "submissions", 0, replicas=1),
        StageSeen("embedder", 2, 16, "parts", 9, oldest_at=NOW + 8.6),
    ]
    return index


async def asked(index, name, request=None):
    method = getattr(index.queries, name)
    answer = await (method(request) if request else method())
    return json.loads(answer.model_dump_json())


async def test_hits_show_rank_score_place_text_parts_and_staleness(index):
    request = SearchRequest(q="rotate credential", explain=True, highlight=True)
    answer = await asked(index, "search", request)

    lines = search.lines(answer, NARROW, now=NOW)

    assert all(len(line) <= 80 for line in lines[:-1])
    assert lines[0].startswith(f"1  {answer['hits'][0]['score']:.4f}  docs/ops/keys.md > Top")
    assert "rotate a credential" in lines[1]
    assert lines[2].strip().startswith("vector 0.")
    assert any("STALE since" in line and "(corrupt)" in line for line in lines)
    assert "2 of 2" in lines[-1]
    assert "(1 document pending)" in lines[-1]
    assert "generation gtest" in lines[-1]


async def test_the_parts_as_shown_sum_to_the_score_as_shown(index):
    request = SearchRequest(q="rotate credential", explain=True)
    for n, hit in enumerate((await asked(index, "search", request))["hits"]):
        lines = search._hit(n + 1, hit, NARROW, NOW)
        shown = [float(word) for word in lines[-1].split() if word[0].isdigit()]

        assert round(sum(shown), 4) == float(lines[0].split()[1])


async def test_nothing_found_is_said(index):
    answer = await asked(index, "search", SearchRequest(q="x", source=("none",)))

    assert search.lines(answer, NARROW, now=NOW)[0] == "nothing found"
    hinted = {**answer, "hint": "no source 'nope' is known"}
    assert search.lines(hinted, NARROW, now=NOW)[1] == "no source 'nope' is known"


async def test_status_fits_80_columns_and_has_every_stage(index):
    answer = await asked(index, "status")
    lines = "\n".join(status.lines(answer, NARROW, now=NOW)).splitlines()

    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith("in step: no   1 pending, oldest 10.0 s")
    assert any(line.startswith("STAGE") and line.endswith("REPLICAS") for line in lines)
    assert any(line.split()[:3] == ["embedder", "2", "16"] for line in lines)
    assert "1 searchable" in lines[-2] + lines[-1]
    assert "1 failed" in lines[-2] + lines[-1]


async def test_status_tells_what_still_loads_and_nothing_of_it_afterwards(index):
    text = "cannot be asked yet: model: the model is loading; store: no answer"
    index.queries.loading = lambda: {"store": "no answer", "model": "the model is loading"}
    assert text in status.lines(await asked(index, "status"), NARROW, now=NOW)

    index.queries.loading = dict
    assert "cannot be asked" not in "".join(
        status.lines(await asked(index, "status"), NARROW, now=NOW)
    )


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"held": 1}, "1 removal waits for your decision: instep removals"),
        ({"held": 54}, "54 removals wait for your decision: instep removals"),
        ({"failed": 1}, "instep failures"),
        ({"unreadable": 1}, "instep failures"),
    ],
)
async def test_the_status_names_the_command_that_shows_what_needs_a_person(index, counts, said):
    answer = await asked(index, "status")
    calm = {**answer, "documents": {word: 0 for word in answer["documents"]}}
    needy = {**calm, "documents": calm["documents"] | counts}
    before = status.lines(calm, NARROW, now=NOW)
    (new,) = [line for line in status.lines(needy, NARROW, now=NOW) if "instep " in line]

    assert said in new
    assert not [line for line in before if "instep " in line]


async def test_every_column_of_a_table_is_in_the_json(index):
    stage = (await asked(index, "status"))["stages"][0]
    failure = (await asked(index, "failures", FailuresRequest()))["failures"][0]
    document = (await asked(index, "documents", DocumentsRequest()))["documents"][0]

    assert {"stage", "waiting", "running", "per_second", "lag_s", "replicas"} <= stage.keys()
    assert {"id", "document", "state", "code", "reason", "since", "tries", "fix"} <= failure.keys()
    assert {"state", "stage", "changed_at", "source", "path"} <= document.keys()


@pytest.mark.parametrize("width", [40, 80, 100, 300])
async def test_the_reason_of_a_failure_is_whole_however_narrow_the_terminal_is(index, width):
    answer = await asked(index, "failures", FailuresRequest())
    reason = " ".join(f"word{n}" for n in range(30))
    long = {**answer, "failures": [{**f, "reason": reason} for f in answer["failures"]]}

    said = failures.lines(long, Terminal(width=width), now=NOW)

    assert " ".join(" ".join(said).split()).count(reason) == len(answer["failures"])


async def test_failures_have_the_remedy_beside_or_below(index):
    answer = await asked(index, "failures", FailuresRequest())
    narrow = failures.lines(answer, NARROW, now=NOW + 7200)
    wide = failures.lines(answer, Terminal(width=200), now=NOW + 7200)

    assert [line for line in wide if "refused:" in line or "failed:" in line] == [
        "1 failed: exhausted",
        "1 refused: corrupt",
    ]
    assert any("instep retry --code exhausted" in line for line in narrow)
    assert any("docs/faq.md" in line and "2 h" in line for line in narrow)
    assert max(map(len, narrow)) <= NARROW.width
    empty = {"failures": [], "groups": [], "total": 0}
    assert failures.lines(empty, NARROW, now=NOW) == ["no document is refused or failed"]
    some = failures.lines(empty, NARROW, now=NOW, picked=True)
    assert some == ["no failure matches; instep failures shows all"]


async def test_pending_documents_are_listed(index):
    answer = await asked(index, "documents", DocumentsRequest(state="queued,working"))

    lines = status.pending(answer, NARROW, now=NOW)

    assert len(lines) == 2
    assert "docs/new.md" in lines[1]
    assert status.pending({"documents": []}, NARROW, now=NOW) == ["no document is pending"]


async def test_a_document_is_shown_with_state_times_and_chunks(index):
    answer = await asked(index, "document", DocumentRequest(name="ops/keys.md"))
    lines = "\n".join(show.lines(answer, NARROW, now=NOW)).splitlines()
    full = show.lines(answer, NARROW, now=NOW, full=True)

    assert "docs/ops/keys.md   SEARCHABLE" in lines[0]
    assert any("2 chunks: 2 new, 0 kept, 0 removed" in line for line in lines)
    assert any("0.50 s" in line for line in lines)
    assert all(len(line) <= 80 for line in lines)
    assert sum("create the new key" in line for line in full) == 1
    refused = await asked(index, "document", DocumentRequest(name="faq.md"))
    shown = "\n".join(show.lines(refused, NARROW, now=NOW))
    assert "REFUSED (STALE)" in shown
    assert "why: it cannot be read" in shown
    assert "fix: save it anew" in shown


async def test_title_and_metadata_are_shown_with_their_origins(index):
    answer = await asked(index, "document", DocumentRequest(name="ops/keys.md"))
    answer |= {
        "title": "Keys",
        "metadata": {"author": "Ada\x1b[31m", "language": "de", "team": "ops"},
        "origins": {"title": "heading", "author": "front matter", "encoding": "guessed: cp1252"},
    }

    lines = show.lines(answer, NARROW, now=NOW)

    assert " title    Keys (heading)" in lines
    assert " author   Ada\\x1b[31m (front matter)" in lines
    assert " team     ops" in lines
    assert " encoding guessed: cp1252" in lines


async def test_a_value_that_filters_take_as_missing_says_so(index):
    answer = await asked(index, "document", DocumentRequest(name="ops/keys.md"))
    answer |= {"metadata": {"at": "soon"}, "origins": {"at": "meta"}, "unfit": {"at": "date"}}

    lines = show.lines(answer, NARROW, now=NOW)

    assert " at       soon (meta), which is no date: filters take it as missing" in lines


async def test_metadata_named_as_the_title_or_the_encoding_is_shown_beside_it(index):
    answer = await asked(index, "document", DocumentRequest(name="ops/keys.md"))
    answer |= {
        "title": "Keys",
        "metadata": {"title": "another", "encoding": "another"},
        "origins": {"title": "heading", "encoding": "guessed: cp1252"},
    }

    lines = show.lines(answer, NARROW, now=NOW)

    assert [line for line in lines if line.startswith((" title", " encoding"))] == [
        " title    Keys (heading)",
        " title    another",
        " encoding another",
        " encoding guessed: cp1252",
    ]


def test_checks_say_how_many_need_somebody():
    found = [
        {"name": "a", "level": "ok", "text": "fine", "fix": ""},
        {"name": "b", "level": "WARN", "text": "hm", "fix": "raise it"},
        {"name": "c", "level": "FAIL", "text": "no", "fix": "mend it"},
    ]

    assert checks.lines(found, NARROW) == [
        "ok    fine",
        "WARN  hm. Fix: raise it",
        "FAIL  no. Fix: mend it",
        "1 failure, 1 warning",
    ]
    assert checks.lines(found[:1], NARROW)[-1] == "all is well (1 check)"


async def test_colour_changes_no_word(index):
    import re

    plain = await asked(index, "status")
    coloured = "\n".join(status.lines(plain, COLOR, now=NOW))

    assert "\x1b[" in coloured
    without = re.sub(r"\x1b\[\d+m", "", coloured)
    assert without == "\n".join(status.lines(plain, NARROW, now=NOW))


@given(text=st.text(max_size=400), start=st.integers(0, 300), width=st.integers(20, 120))
def test_a_snippet_is_one_line_that_fits(text, start, width):
    marks = [(start, start + 3)] if start + 3 <= len(text) else []

    line = search.snippet(text, marks, width, NARROW)

    assert len(line) <= width + 2
    assert "\n" not in line


def test_a_snippet_shows_the_word_that_was_found():
    text = "a " * 300 + "needle" + " b" * 300

    assert "needle" in search.snippet(text, [(600, 606)], 60, NARROW)
    assert "\x1b[1mneedle\x1b[0m" in search.snippet(text, [(600, 606)], 60, COLOR)


@given(path=st.text("abc/", min_size=1, max_size=200), width=st.integers(8, 80))
def test_a_path_is_cut_in_the_middle(path, width):
    short = shorten_path(path, width)

    assert len(short) <= width
    assert short == path or short.endswith(path[-((width - 1) * 2 // 3) :])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "-"),
        (0.0, "0.00 s"),
        (0.62, "0.62 s"),
        (47.21, "47.2 s"),
        (240, "4 min"),
        (7200, "2 h"),
        (300_000, "3 d"),
    ],
)
def test_durations(value, said):
    assert seconds(value) == said


def test_numbers_and_moments():
    noon = datetime(2026, 11, 21, 12, 3, 6, 790000, tzinfo=UTC)
    text = noon.isoformat().replace("+00:00", "Z")

    assert (number(1204), number(3.14), number(None), number(212.6)) == ("1,204", "3.1", "-", "213")
    assert clock(text, now=noon.timestamp(), digits=2).endswith(":03:06.79")
    assert clock(text, now=noon.timestamp() + 3 * 86_400).startswith("2026-11-2")
    assert clock(None) == "-"
    assert ago(text, noon.timestamp() + 240) == "4 min"


def test_a_table_lines_its_columns_up():
    assert table([("A", "N"), ("long", "1"), ("x", "100")], right=(1,)) == [
        "A       N",
        "long    1",
        "x     100",
    ]
