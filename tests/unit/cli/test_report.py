"""`instep report` as lines."""

import json

import pytest
from gateway_world import Index
from hypothesis import given
from hypothesis import strategies as st
from memory_kv import MemoryShelf
from report_world import START, failed, many, mixed, record, report

from services.cli.commands import report as command
from services.cli.commands.report import BAR, bar_length, history, is_well, lines, listed
from services.cli.exits import Stop
from services.cli.parser import parse
from services.cli.terminal import Terminal
from services.gateway.answers import Faces, answer
from services.host.options import Options
from shared.batches.history import History
from shared.batches.reports import Validation

NARROW = Terminal(width=80)
NOW = START.timestamp() + 60


def shown(found, terminal=NARROW):
    return lines(json.loads(found.model_dump_json()), terminal, now=NOW)


def test_a_report_fits_80_columns_and_says_what_was_done_and_what_is_wrong():
    found = shown(mixed())
    whole = "\n".join(found)

    assert max(len(line) for line in whole.split("\n")) <= 80
    assert "\x1b" not in whole
    assert found[0] == "batch b_01hgs8k3m2 of docs   FAILED"
    assert "3 inserted   1 updated" in whole
    assert "freshness  p50 0.40 s   p95 1 min   longest 1 min   over 60 s: 1" in whole
    assert "FAIL  10 rows of 6 documents, 11 expected" in whole
    assert "Fix: instep validate looks again" in whole
    assert "failed   exhausted" in whole
    assert "docs/big.csv" in whole
    assert found[-1] == "generation gabcdefgh, model all-MiniLM-L6-v2"


def test_long_names_and_long_lists_fit_too():
    records = [failed("a very long folder/" * 30 + f"{n}.md") for n in range(60)]
    found = shown(report(records, id="b" * 200, declined=("!1 invalid_path",)))

    assert max(len(line) for line in "\n".join(found).split("\n")) <= 80
    assert "and 41 more: instep failures, or --json" in found
    assert any(line.endswith("/0.md") for line in found)


def test_colour_is_only_for_a_terminal():
    found = "\n".join(shown(mixed(), Terminal(width=80, color=True)))

    assert "\x1b[31mFAILED\x1b[0m" in found


def test_an_empty_batch_is_short():
    found = shown(report([], unchanged=12))

    assert found[0].endswith("nothing to check")
    assert "12 unchanged" in "\n".join(found)
    assert len(found) < 10


@pytest.mark.parametrize(
    ("found", "well"),
    [
        (report([record("a.md")]), True),
        (report([]), True),
        (report([failed("a.md")]), True),  # `instep failures` is for that
        (mixed(), False),
        (report([record("a.md")], count=2, whole=False), False),
    ],
)
def test_status_1_is_for_a_batch_that_did_not_pass_or_is_incomplete(found, well):
    assert is_well(json.loads(found.model_dump_json())) is well


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_bar_is_as_long_as_its_value_and_never_invisible(value, most):
    value = min(value, most)
    length = bar_length(value, most)

    assert 0 <= length <= BAR
    assert (length > 0) == (value > 0)
    assert value != most or length == BAR
    assert abs(length - BAR * value / most) <= 1


def test_the_histogram_shows_the_range_that_has_documents():
    found = [line for line in shown(report(many(100))) if " to " in line and "#" in line]

    assert found[0].split()[:3] == ["to", "0.1", "s"]
    assert found[-1].split()[1] == "30"
    assert max(line.count("#") for line in found) == BAR


# -- through the faces -----------------------------------------------------------------------------


@pytest.fixture
async def asked(monkeypatch):
    """The command asks an index in memory."""
    index = Index()
    index.queries.reports = kept = History(MemoryShelf())
    for n in range(3):
        await kept.keep(report([record("a.md")], id=f"b{n}", after_s=9 + n))
    await kept.keep(mixed(after_s=60.0))
    await kept.judge(
        [Validation(kind="validate", at=START, source="", generation="g", passed=True)]
    )
    faces = Faces(index.queries, index.commands)
    found = {}
    for name, fields in (
        ("report", {"batch": "last"}),
        ("batches", {"limit": 30}),
        ("validations", {"limit": 20}),
    ):
        found[name] = await answer(faces, name, fields)
    monkeypatch.setattr(command, "ask", lambda options, name, fields: found[name])
    return found


def run(tmp_path, *argv):
    return command.run(parse(["report", *argv]), Options(data=tmp_path, json="--json" in argv))


def test_lists_fit_80_columns_and_name_batches_in_full(asked):
    of_batches = listed(asked["batches"], NARROW, now=NOW)
    of_verdicts = history(asked["validations"], NARROW, now=NOW)

    assert all(len(line) <= 80 for line in (*of_batches, *of_verdicts))
    assert of_batches[1].endswith("FAILED  b_01hgs8k3m2")
    assert of_verdicts[-1].endswith("instep validate")
    assert "INCOMPLETE" not in "".join(of_batches)
    assert listed({"batches": [], "next_cursor": None}, NARROW, now=NOW) == [
        "no batch has ended yet"
    ]


def test_another_day_shows_its_date(asked):
    (row,) = [x for x in listed(asked["batches"], NARROW, now=NOW + 5 * 86_400) if "b0" in x]

    assert row.startswith("11-21 ")
    assert len(row) <= 80


def test_json_has_everything_and_the_status_is_the_same(asked, tmp_path, capsys):
    status = run(tmp_path, "--json")

    assert json.loads(capsys.readouterr().out) == asked["report"]
    assert status == 1


def test_a_page_is_written_with_the_history_of_its_source(asked, tmp_path, capsys):
    target = tmp_path / "report.html"
    status = run(tmp_path, "--html", str(target))

    assert status == 1
    assert "the last 4 batches of docs" in target.read_text().lower()
    assert capsys.readouterr().out == ""
    run(tmp_path, "--html", "-")
    assert capsys.readouterr().out.startswith("<!doctype html>")


@pytest.mark.parametrize(
    "argv", [["--list", "--history"], ["--list", "--html", "x"], ["--html", "/no/such/folder/x"]]
)
def test_what_cannot_be_is_said(asked, tmp_path, argv):
    with pytest.raises(Stop):
        run(tmp_path, *argv)
