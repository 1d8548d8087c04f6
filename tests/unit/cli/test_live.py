import io
import json
import queue
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.up.frame import Estimate, Throttle, exit_needs_you, frame, in_step_line, news
from services.cli.up.live import LiveView
from shared.observe.progress import Activity, Progress

SUMMARY = {
    "in_step": True,
    "elapsed_s": 47.21,
    "documents": {"found": 1204, "searchable": 1202, "inserted": 1202, "refused": 2},
    "chunks": {"searchable": 9876, "embedded": 9876, "cached": 0},
}


class Tty(io.StringIO):
    def isatty(self):
        return True


class Time:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Time()


def view_on(stream, clock, **options):
    return LiveView(
        Progress(),
        "0.1.0",
        ".instep",
        folders=["./docs"],
        names=["docs"],
        err=stream,
        out=io.StringIO(),
        clock=clock,
        wall=lambda: datetime(2026, 11, 21, 12, 3, 7),
        **options,
    )


def busy(progress):
    progress.found, progress.changed, progress.refused, progress.indexed = 1204, 1204, 2, 402
    progress.rows_planned, progress.rows_written, progress.encoded = 9876, 3310, 3310


def test_totals_are_never_below_what_is_done():
    """After a kill the work of the process before is done here, though it was counted there."""
    progress = Progress(found=9, listed=True, changed=534, rows_planned=6, indexed=2728)
    progress.encoded, progress.rows_written = 4000, 4000

    shown = " ".join(frame("docs", progress, Estimate(), 200))

    assert "searchable 2,728 of 2,728" in shown
    assert "embedded 4,000 of 4,000" in shown
    assert "%" not in shown


def test_after_a_restart_in_the_middle_the_totals_are_what_is_left_to_do():
    progress = Progress(listed=True, found=150, unchanged=150, left=150, rows_left=4500)
    progress.rows_written = progress.encoded = 750
    progress.indexed = 25

    shown = " ".join(frame("docs", progress, Estimate(), 200))

    assert "embedded 750 of 4,500 chunks" in shown
    assert "searchable 25 of 150" in shown
    assert " 16 %" in shown


def test_what_an_earlier_process_has_embedded_counts_when_it_is_written():
    progress = Progress(listed=True, found=9, left=9, rows_left=90, rows_written=90, indexed=9)

    assert "embedded 90 of 90 chunks" in " ".join(frame("docs", progress, Estimate(), 200))


def test_the_first_line_says_what_runs_where_and_how_it_stops(clock):
    stream = io.StringIO()
    view_on(stream, clock).start()

    assert stream.getvalue() == "instep 0.1.0   data .instep   ./docs   Ctrl-C stops\n"


def test_progress_has_counters_bar_rate_and_time_left_in_80_columns():
    progress = Progress()
    busy(progress)
    estimate = Estimate()
    for t in range(11):
        estimate.add(t, 1190 + 212 * t, 9876)  # 6,566 are left

    lines = frame("docs", progress, estimate, 80)

    assert lines == [
        "docs     found 1,204   embedded 3,310 of 9,876 chunks",
        "       searchable 402 of 1,204   refused 2",
        "       [#######---------------]  33 %   212 chunks/s   about 30 s left",
    ]
    wide = frame("docs", progress, estimate, 120)
    assert len(wide) == 2


@given(
    counts=st.lists(st.integers(0, 10**7), min_size=9, max_size=9),
    width=st.integers(40, 200),
    label=st.text("abc-", min_size=1, max_size=40),
)
def test_no_line_of_progress_is_wider_than_the_terminal(counts, width, label):
    progress = Progress(listed=True)
    names = ("found", "unchanged", "changed", "rows_planned", "rows_written", "encoded")
    for name, value in zip((*names, "indexed", "refused", "failed"), counts, strict=True):
        setattr(progress, name, value)

    lines = frame(label, progress, Estimate(), width)

    assert all(len(line) <= max(width, 52) for line in lines)


def test_a_restart_without_changes_shows_no_bar():
    progress = Progress(listed=True, found=5, unchanged=5)

    assert frame("docs", progress, Estimate(), 80) == ["docs     found 5   unchanged 5"]


def test_the_line_of_being_in_step():
    assert in_step_line(SUMMARY) == (
        "in step after 47.2 s: 1,202 documents, 9,876 chunks searchable; "
        "2 refused (instep failures)"
    )


def test_what_is_not_in_step_is_not_called_so():
    documents = {**SUMMARY["documents"], "held": 3, "refused": 0}
    summary = {**SUMMARY, "in_step": False, "problem_count": 1, "documents": documents}

    assert in_step_line(summary) == (
        "not in step after 47.2 s: 1,202 documents, 9,876 chunks searchable; "
        "3 removals held (instep removals); 1 path cannot be read or named"
    )


def test_only_what_is_in_step_is_green(clock):
    lines = []
    for in_step in (True, False):
        view = view_on(Tty(), clock, color=True)
        view.in_step({**SUMMARY, "in_step": in_step})
        lines.append(view.err.getvalue().splitlines()[0])

    assert ["\x1b[32m" in line for line in lines] == [True, False]


@pytest.mark.parametrize(
    ("activity", "line"),
    [
        (
            Activity("changed", "guide/install.md", "1 of 14 chunks embedded", 0.62),
            "12:03:07  changed  guide/install.md             1 of 14 chunks embedded"
            "   searchable in 0.62 s",
        ),
        (
            Activity("removed", "old.md", "0 of 0 chunks embedded", 0.35),
            "12:03:07  removed  old.md                       0.35 s",
        ),
        (
            Activity("refused", "scan.pdf", "the PDF is encrypted"),
            "12:03:07  refused  scan.pdf                     the PDF is encrypted",
        ),
        (Activity("moved", "b.md", "a.md -> b.md"), "12:03:07  moved    a.md -> b.md"),
        (Activity("held", "", "1,198 vanished"), "12:03:07  HELD     1,198 vanished"),
    ],
)
def test_a_line_for_each_change(activity, line):
    assert news(activity, "12:03:07", 100) == line


@given(path=st.text("ab/", min_size=1, max_size=300), width=st.integers(80, 160))
def test_a_long_path_is_cut_in_the_middle_so_that_the_line_fits(path, width):
    line = news(Activity("changed", path, "1 of 14 chunks embedded", 0.6), "12:03:07", width)

    assert len(line) <= max(width, 97)
    assert path[-10:] in line


def test_on_a_terminal_the_progress_is_redrawn_and_gone_at_the_end(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    stream = Tty()
    view = view_on(stream, clock)
    view.start()
    busy(view.progress)
    for clock.now in (0.0, 0.1, 0.2):
        view.tick()
    view.in_step(SUMMARY)
    view.stop()

    shown = stream.getvalue()
    assert shown.count("searchable 402 of 1,204") >= 3
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is there
    assert "in step after 47.2 s" in shown.rpartition("\x1b[2K")[2]
    assert "watching ./docs" in shown
    assert "\x1b[3" not in shown  # no colour was asked for


def test_without_a_terminal_plain_lines_come_now_and_then(clock):
    stream = io.StringIO()
    view = view_on(stream, clock)
    view.start()
    busy(view.progress)
    for second in range(12):
        clock.now = float(second)
        view.progress.indexed += 1
        view.tick()

    lines = stream.getvalue().splitlines()
    assert sum("found 1,204" in line for line in lines) == 3
    assert "\x1b" not in stream.getvalue()


def test_news_before_being_in_step_is_only_what_cannot_wait(clock):
    stream = io.StringIO()
    view = view_on(stream, clock)
    view.start()
    view.progress.say(Activity("changed", "a.md", "", 0.1))
    view.progress.say(Activity("held", "", "1,198 of 1,202 documents vanished"))
    before = stream.getvalue()
    view.in_step(SUMMARY)
    view.progress.say(Activity("changed", "b.md", "", 0.1))
    view.stop()
    view.progress.say(Activity("changed", "c.md", "", 0.1))

    assert "a.md" not in before
    assert "HELD" in before
    assert "b.md" in stream.getvalue()
    assert "c.md" not in stream.getvalue()


def test_what_the_log_says_is_wrong_is_told_in_a_sentence_once_a_minute(clock):
    stream = io.StringIO()
    view = view_on(stream, clock)
    view.start()
    for clock.now in (0.0, 0.5, 59.0, 61.0):
        view.warn("not_swept", "the store does not answer")
    view.warn("handler_broke", "")
    view.warn("delivery_buried", "has a line of its own")

    assert [line[10:] for line in stream.getvalue().splitlines()[1:]] == [
        "notice   not swept: the store does not answer",
        "notice   not swept: the store does not answer",
        "notice   a fault of instep (handler_broke): .instep/instep.log says more",
    ]


def test_a_flood_of_changes_is_cut_and_counted(clock):
    stream = io.StringIO()
    view = view_on(stream, clock)
    view.start()
    view.in_step(SUMMARY)
    for n in range(500):
        view.progress.say(Activity("changed", f"{n}.md", "", 0.1))
    clock.now = 1.5
    view.tick()

    lines = stream.getvalue().splitlines()
    assert sum(".md" in line for line in lines) == 20
    assert lines[-1].strip() == "and 480 more changes"


def test_stopping_is_said_and_the_progress_stands_still(clock):
    stream = io.StringIO()
    view = view_on(stream, clock)
    view.start()
    view.stopping()
    busy(view.progress)
    view.tick()
    view.stop()
    view.stop()

    assert stream.getvalue().splitlines()[-1] == "stopping; Ctrl-C again ends at once"


def test_json_is_one_object_a_line_on_standard_output(clock):
    view = view_on(io.StringIO(), clock, json=True)
    view.start()
    view.in_step(SUMMARY)
    view.progress.say(Activity("changed", "a.md", "1 of 2", 0.5))

    first, second = (json.loads(line) for line in view.out.getvalue().splitlines())
    assert first == SUMMARY
    assert (second["kind"], second["path"], second["seconds"]) == ("changed", "a.md", 0.5)


@pytest.mark.parametrize(("stream", "shown"), [(Tty(), True), (io.StringIO(), False)])
def test_a_link_that_lets_a_browser_in_is_shown_to_a_person_and_to_no_log(clock, stream, shown):
    view = view_on(stream, clock)
    view.ready(url="http://h", model="m", link="/enter?once=secret")

    assert ("http://h/enter?once=secret" in stream.getvalue()) == shown


@pytest.mark.parametrize(
    ("link", "opened"), [("/enter?once=secret", "http://h/enter?once=secret"), ("", "http://h/")]
)
def test_the_page_is_opened_where_it_is_asked_for(clock, link, opened):
    shown = queue.SimpleQueue()
    view = view_on(io.StringIO(), clock, open=shown.put)
    view.ready(url="http://h", model="m", link=link)

    assert shown.get(timeout=30) == opened


def test_quiet_says_nothing(clock):
    stream = io.StringIO()
    view = view_on(stream, clock, quiet=True)
    view.start()
    view.ready(url="http://h", model="m")
    view.tick()
    view.in_step(SUMMARY)

    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("change", "strict", "needs"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"refused": 0}, True, False),
        ({"held": 1, "in_step": False}, False, True),
        ({"failed": 1}, False, True),
        ({"problem_count": 1}, False, True),
        ({"in_step": False}, False, True),
    ],
)
def test_once_ends_with_1_when_somebody_is_needed(change, strict, needs):
    summary = {**SUMMARY, **change, "documents": {**SUMMARY["documents"], **change}}

    assert exit_needs_you(summary, strict=strict) is needs


@given(st.lists(st.floats(0, 20), max_size=100).map(sorted))
def test_the_throttle_loses_no_count(times):
    throttle = Throttle(most=3)
    passed = missed = 0
    for now in times:
        missed += throttle.missed(now)
        passed += throttle.passes(now)
    missed += throttle.missed(100)

    assert passed + missed == len(times)
