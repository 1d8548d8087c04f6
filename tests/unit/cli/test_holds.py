"""`instep removals`: what is shown, and what cannot be asked."""

from datetime import UTC, datetime

import pytest

from services.cli.commands.removals import decided, lines
from services.cli.exits import Stop
from services.cli.main import run
from services.cli.parser import parse
from services.cli.terminal import Terminal
from services.cli.up.frame import in_step_line

NOW = datetime(2026, 11, 21, 12, 4, tzinfo=UTC).timestamp()
DOCS = {
    "source": "docs",
    "since": "2026-11-21T12:00:00Z",
    "vanished": 1198,
    "of": 1202,
    "sample": ["guide/a.md", "guide/b.md", "guide/c.md", "guide/d.md"],
    "kept": False,
}
KEPT = DOCS | {"source": "archive", "vanished": 2, "sample": ["x.md", "y.md"], "kept": True}


def test_each_source_has_a_row_with_paths_and_the_commands_are_named():
    shown = lines({"holds": [KEPT, DOCS], "total": 1198}, Terminal(80), now=NOW)

    assert shown[0].split() == ["SOURCE", "SINCE", "VANISHED", "OF"]
    assert shown[1].split() == ["archive", "4", "min", "2", "1,202", "rejected"]
    assert shown[2] == "    x.md, y.md"
    assert shown[3].split()[:5] == ["docs", "4", "min", "1,198", "1,202"]
    assert shown[3].endswith("waits for you")
    assert shown[4] == "    guide/a.md, guide/b.md, guide/c.md, and 1,195 more"
    assert any("instep removals approve docs" in line for line in shown)
    assert any("instep removals reject docs" in line for line in shown)
    assert all(len(line) <= 80 for line in shown)


@pytest.mark.parametrize(
    ("holds", "approve", "reject"),
    [
        ([DOCS], ["docs"], ["docs"]),
        ([KEPT], ["archive"], []),
        ([DOCS | {"released": True}], [], ["docs"]),
        ([KEPT, DOCS | {"released": True}], ["archive"], ["docs"]),
        ([KEPT, DOCS], ["docs"], ["docs"]),
    ],
)
def test_a_decision_that_was_made_is_not_offered_again(holds, approve, reject):
    shown = lines({"holds": holds, "total": 0}, Terminal(80), now=NOW)
    offered = {
        verb: [line.split()[3] for line in shown if f"instep removals {verb}" in line]
        for verb in ("approve", "reject")
    }

    assert offered == {"approve": approve, "reject": reject}


def test_nothing_held_is_one_line():
    assert lines({"holds": [], "total": 0}, Terminal(80), now=NOW) == ["no removal is held"]


@pytest.mark.parametrize(
    ("action", "fields", "said"),
    [
        ("approve", {"done": True, "documents": 25}, "docs: 25 documents removed"),
        ("reject", {"done": True, "documents": 1, "detail": "so"}, "docs: 1 document kept; so"),
        ("approve", {"done": False, "detail": "why"}, "docs: nothing was done; why"),
    ],
)
def test_a_decision_is_told_in_one_line(action, fields, said):
    assert decided({"source": "docs", "documents": 0, "detail": ""} | fields, action) == said


def test_a_decision_needs_a_source(tmp_path, capsys):
    assert run(["removals", "approve", "--data", str(tmp_path)]) == 2

    assert (
        "removals approve: the following arguments are required: SOURCE" in capsys.readouterr().err
    )


def test_a_word_that_is_no_decision_is_answered_with_what_was_meant():
    with pytest.raises(Stop, match="did you mean approve"):
        parse(["removals", "aprove", "docs"])


@pytest.mark.parametrize(
    "argv", [["removals"], ["removals", "approve", "docs"], ["removals", "reject", "x"]]
)
def test_without_an_instance_it_is_not_reachable_and_says_what_to_do(argv, tmp_path, capsys):
    (tmp_path / "data").mkdir()

    assert run([*argv, "--data", str(tmp_path / "data")]) == 3

    said = capsys.readouterr().err
    assert "nothing is indexed here" in said
    assert "instep up PATH" in said


def test_the_end_of_up_names_the_command():
    summary = {"in_step": True, "elapsed_s": 1.0, "documents": {"held": 25}, "chunks": {}}

    assert in_step_line(summary).endswith("; 25 removals held (instep removals)")
