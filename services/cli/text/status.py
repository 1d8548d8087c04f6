"""The state of the flow as lines. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from services.cli.terminal import (
    Terminal,
    ago,
    clock,
    number,
    plural,
    seconds,
    shorten_path,
    table,
    visible,
)
from services.cli.text import sweep
from shared.domain.formats import in_words

WORDS: Final = (
    ("searchable", "searchable"),
    ("inactive", "inactive"),
    ("queued", "queued"),
    ("working", "working"),
    ("stale", "stale"),
    ("refused", "refused"),
    ("failed", "failed"),
    ("dropped", "dropped"),
    ("held", "held"),
    ("unreadable", "unreadable"),
)
_ALWAYS: Final = frozenset({"searchable", "stale", "refused", "failed"})


def lines(answer: Mapping[str, Any], terminal: Terminal, *, now: float) -> list[str]:
    """The whole table of `status`."""
    found = [summary(answer, terminal, now=now), ""]
    found += _stages(answer)
    found += ["", counts(answer, terminal), *_needs_you(answer, terminal)]
    if len(answer["sources"]) > 1:
        found += ["", *_sources(answer)]
    if told := [line for source in answer["sources"] for line in past(source, terminal)]:
        found += ["", *told]
    if answer.get("last_sweep"):
        at = answer["last_sweep"]["at"]
        found += ["", sweep.line(answer["last_sweep"], ago(at, now))]
    if answer.get("loading"):
        why = [f"{what}: {why}" for what, why in sorted(answer["loading"].items())]
        found += ["", terminal.paint("cannot be asked yet: " + "; ".join(why), "yellow")]
    if wrong := [line for source in answer["sources"] for line in _wrong(source, terminal)]:
        found += ["", *wrong]
    return found


def summary(answer: Mapping[str, Any], terminal: Terminal, *, now: float) -> str:
    """`in step: no   3 pending, oldest 1.4 s   watermark 12:03:06   freshness p50 0.6 s …`."""
    runs, then = answer.get("runs", True), answer.get("in_step_as_of")
    word = terminal.paint("yes", "green") if answer["in_step"] else terminal.paint("no", "yellow")
    parts = [f"in step: {f'as of {clock(then, now=now)}' if then else word}"]
    if not runs:
        parts.append("no instance runs: nothing is watched")
    pending = answer["pending_documents"]
    oldest = answer["oldest_pending_s"]
    parts.append(f"{pending:,} pending" + (f", oldest {seconds(oldest)}" if oldest else ""))
    if answer["watermark"] is None:
        parts.append("folders not all listed yet")
    else:
        parts.append(f"watermark {clock(answer['watermark'], now=now)}")
    if answer["freshness_p50_s"] is not None:
        p50, p95 = seconds(answer["freshness_p50_s"]), seconds(answer["freshness_p95_s"])
        parts.append(f"freshness p50 {p50}, p95 {p95} (1 h)")
    return wrap(parts, terminal.width)


def counts(answer: Mapping[str, Any], terminal: Terminal) -> str:
    """`1,202 searchable   1 stale   2 refused   …   9,876 chunks`."""
    known = answer["documents"]
    parts = []
    for word, text in WORDS:
        value = known.get(word, 0)
        if value or word in _ALWAYS:
            shown = f"{value:,} {text}"
            needs = value and word in ("failed", "held")
            parts.append(terminal.paint(shown, "red") if needs else shown)
    parts.append(plural(answer["chunks"], "chunk"))
    return wrap(parts, terminal.width)


def _needs_you(answer: Mapping[str, Any], terminal: Terminal) -> list[str]:
    """What waits for a person, and the command that shows it."""
    known = answer["documents"]
    found = []
    if held := known.get("held", 0):
        waits = "waits" if held == 1 else "wait"
        found.append(f"{plural(held, 'removal')} {waits} for your decision: instep removals")
    if known.get("failed", 0) or known.get("unreadable", 0):
        found.append("failed and unreadable documents need you: instep failures")
    return [terminal.paint(line, "red") for line in found]


def pending(answer: Mapping[str, Any], terminal: Terminal, *, now: float) -> list[str]:
    """The documents that are not searchable yet."""
    if not answer["documents"]:
        return ["no document is pending"]
    room = terminal.width - 40
    rows = [("STATE", "STAGE", "SINCE", "DOCUMENT")]
    for line in answer["documents"]:
        name = shorten_path(f"{line['source']}/{line['path']}", max(20, room))
        since = clock(line["changed_at"], now=now)
        rows.append((line["state"], line["stage"] or "-", since, name))
    found = table(rows)
    more = answer["total"] - len(answer["documents"])
    return [*found, f"and {more:,} more"] if more > 0 else found


def wrap(parts: list[str], width: int) -> str:
    """Parts with three spaces between, on as many lines as needed; colour takes no room."""
    rows: list[str] = []
    for part in parts:
        if rows and _length(rows[-1]) + 3 + _length(part) <= width:
            rows[-1] += f"   {part}"
        else:
            rows.append(part)
    return "\n".join(rows)


def _length(text: str) -> int:
    while "\x1b[" in text:
        before, _, after = text.partition("\x1b[")
        text = before + after.partition("m")[2]
    return len(text)


def _stages(answer: Mapping[str, Any]) -> list[str]:
    rows = [("STAGE", "WAITING", "RUNNING", "PER SECOND", "LAG", "REPLICAS")]
    rows += [
        (
            stage["stage"],
            number(stage["waiting"]),
            number(stage["running"]),
            number(stage["per_second"]),
            seconds(stage["lag_s"]),
            number(stage["replicas"]),
        )
        for stage in answer["stages"]
    ]
    return table(rows, right=(1, 2, 3, 4, 5))


def _wrong(source: Mapping[str, Any], terminal: Terminal) -> list[str]:
    """The faults of a source, and of some of its paths."""
    found = []
    if source.get("error"):
        wrong = f"{source['name']}: {source['error']}"
        text = f"{wrong}; no document is removed; the next listing tries again"
        found.append(terminal.paint(visible(text), "red"))
    problems = source.get("problems") or {}
    for path, problem in problems.items():
        name = shorten_path(f"{source['name']}/{path}", max(20, terminal.width // 2))
        found.append(terminal.paint(f"{name}: {visible(problem)}", "yellow"))
    if (more := source.get("problem_count", 0) - len(problems)) > 0:
        found.append(f"and {more:,} more paths of {source['name']}")
    if left_out := source.get("left_out"):
        found.append(f"{source['name']}: left out: {visible(in_words(left_out))}")
    return found


def _sources(answer: Mapping[str, Any]) -> list[str]:
    rows = [("SOURCE", "KIND", "DOCUMENTS", "PATH")]
    rows += [
        (s["name"], kind_of(s), number(s["documents"]), s["path"] or "-") for s in answer["sources"]
    ]
    return table(rows, right=(2,))


def kind_of(source: Mapping[str, Any]) -> str:
    """`folder`, `push`, or `not given` for a folder that is not given any more."""
    return str(source["kind"]) if source.get("given", True) else "not given"


def past(source: Mapping[str, Any], terminal: Terminal) -> list[str]:
    """The remedies for a folder that is not given any more."""
    if source.get("given", True):
        return []
    name, same_as = source["name"], source.get("same_as")
    why = f"{same_as} has all of its documents" if same_as else "nothing watches its documents"
    again = "" if same_as else f"instep up PATH --source {name}, or: "
    text = f"{name}: not given any more; {why}: {again}instep sources forget {name}"
    return [terminal.paint(text, "yellow")]
