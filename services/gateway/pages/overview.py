"""What the overview says first: is it in step, what is wrong, what to do. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.gateway.models import SourceView, StatusAnswer
from services.gateway.pages.markup import Markup, moment, seconds, text
from services.gateway.pages.words import link, plural
from services.gateway.views import FailureGroup, HoldView


@dataclass(frozen=True, slots=True)
class Headline:
    """The answer to "is it in step?"."""

    kind: str
    """`good`, `info`, `warn` or `bad`, as the words of the style sheet."""
    sign: str
    words: str
    more: Markup
    """One sentence."""


def headline(status: StatusAnswer, needs: int, *, is_whole: bool) -> Headline:
    """
    Args:
        needs: how many things wait for a person.
        is_whole: the reader sees all sources; of some, nobody can say that they are in step.
    """
    behind, waits = _behind(status), _waits(needs)
    if not status.runs:
        then = status.in_step_as_of
        as_of = Markup(f"It was in step at {moment(then)}.") if then else Markup()
        return Headline("bad", "✗", "No instance runs", Markup(f"Nothing is watched. {as_of}"))
    if status.in_step:
        return Headline("good", "✓", "In step", _sentences(behind, waits))
    if status.pending_documents:
        words = f"Catching up: {plural(status.pending_documents, 'document')} pending"
        return Headline("info", "◐", words, _sentences(behind, waits))
    if needs:
        return Headline("warn", "!", "Not in step", _sentences(behind, waits))
    if not is_whole:
        words = "Nothing of your sources is pending"
        return Headline("info", "○", words, text("Your key shows some sources only."))
    return Headline("info", "◐", "Looking at the sources", behind)


def _waits(needs: int) -> Markup:
    if not needs:
        return Markup()
    return text(f"{plural(needs, 'thing')} {'needs' if needs == 1 else 'need'} you: see below.")


def _sentences(*parts: Markup) -> Markup:
    return Markup(" ".join(filter(None, parts)))


def _behind(status: StatusAnswer) -> Markup:
    """Up to when search is right, and what is on its way."""
    parts = list[str]()
    if status.watermark is not None:
        parts.append(f"Search shows every change known before {moment(status.watermark)}.")
    elif status.stages:
        parts.append("The folders are not all listed yet.")
    if status.pending_documents:
        oldest = status.oldest_pending_s
        since = f", the oldest for {text(seconds(oldest))}" if oldest else ""
        parts.append(f"{text(plural(status.pending_documents, 'document'))} pending{since}.")
    return _sentences(*map(Markup, parts))


@dataclass(frozen=True, slots=True)
class Need:
    """Something that waits for a person."""

    kind: str
    """`bad` or `warn`."""
    words: str
    todo: str
    """What to do, in one sentence."""
    href: str
    label: str
    """Of the link."""


def needs(
    status: StatusAnswer, holds: Sequence[HoldView], groups: Sequence[FailureGroup]
) -> list[Need]:
    """All that waits for a person, the worst first."""
    return [
        *_of_instance(status),
        *(need for source in status.sources for need in _of_source(source)),
        *_of_holds(holds),
        *_of_failures(groups),
    ]


def _of_instance(status: StatusAnswer) -> Iterator[Need]:
    if not status.runs:
        yield Need("bad", "No instance runs.", "Start it: instep up", "/sources", "Sources")
    for what, why in sorted(status.loading.items()):
        todo = "Wait a moment; if it stays, run instep doctor."
        yield Need("warn", f"The {what} cannot be asked yet: {why}", todo, "/", "Look again")
    if status.last_sweep and status.last_sweep.needs_you:
        words = "The last comparison left differences that it cannot end by itself."
        yield Need("warn", words, "instep sweep tells which.", "/failures", "Failures")


def _of_source(source: SourceView) -> Iterator[Need]:
    href = link(f"/sources/{source.name}")
    if source.error:
        todo = "Nothing is removed meanwhile. Make it readable again; it is tried again by itself."
        yield Need("bad", f"{source.name}: {source.error}", todo, href, "Its source")
    elif source.problem_count:
        words = f"{source.name}: {plural(source.problem_count, 'path')} cannot be read"
        yield Need("warn", words, "Allow instep to read them, or exclude them.", href, "Which")
    if not source.given:
        words = f"{source.name} is not watched any more, and its documents are still in the index"
        yield Need("warn", words, "Watch it again, or forget it.", href, "Decide")


def _of_holds(holds: Sequence[HoldView]) -> Iterator[Need]:
    for hold in holds:
        if not (hold.kept or hold.released):
            words = f"{hold.source}: {hold.vanished:,} of {plural(hold.of, 'document')} vanished"
            todo = "Their removal waits for you: do it, or keep them."
            yield Need("bad", words, todo, "/removals", "Decide")


def _of_failures(groups: Sequence[FailureGroup]) -> Iterator[Need]:
    for group in groups:
        words = f"{plural(group.count, 'document')} {group.state}: {group.meaning} ({group.code})"
        kind = "bad" if group.state == "failed" else "warn"
        href = link("/failures", code=group.code, state=group.state)
        yield Need(kind, words, group.fix, href, "Which")
