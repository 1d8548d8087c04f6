"""Removals that wait for a person, and those that a person asks for: of all that a source has."""

from dataclasses import asdict

from services.gateway.models import StatusAnswer
from services.gateway.problems import Problem, hint
from services.gateway.views import HoldAnswer, HoldsAnswer, HoldView
from shared.ports import Hold, Holds


async def listed(holds: Holds) -> HoldsAnswer:
    found = await holds.list()
    return HoldsAnswer(
        holds=tuple(HoldView(**asdict(hold)) for hold in found),
        total=sum(hold.vanished for hold in found if hold.waits),
    )


async def release(holds: Holds, source: str) -> HoldAnswer:
    """Take the documents out of the index; where no instance runs, the next one does.

    Raises:
        Problem: nothing of the source is held.
    """
    await _find(holds, source)
    removed = await holds.release(source)
    left = next((hold for hold in await holds.list() if hold.source == source), None)
    return HoldAnswer(
        source=source,
        done=removed > 0,
        documents=removed,
        detail=_after(left) if removed else _why_not(left),
    )


async def keep(holds: Holds, source: str) -> HoldAnswer:
    """Leave the documents in the index. Raises Problem: nothing of the source is held."""
    await _find(holds, source)
    kept = await holds.keep(source)
    detail = (
        "they are found by search until their files come back, or until their removal is approved; "
        "removals that come on top will wait and ask again"
    )
    return HoldAnswer(
        source=source, done=kept > 0, documents=kept, detail=detail if kept else _why_not(None)
    )


async def forget(holds: Holds, source: str, status: StatusAnswer) -> HoldAnswer:
    """Take all documents of a source out of the index.

    Raises:
        Problem: there is no such source, or it is watched.
    """
    known = {view.name: view for view in status.sources}
    view = known.get(source)
    if view is None:
        raise Problem("source_not_found", f"no source {source!r} is known{hint(source, known)}")
    if view.kind == "folder" and view.given and status.runs:
        raise Problem(
            "source_watched",
            f"{source} is watched: its files would bring its documents back",
            fix=f"start instep without {view.path or 'its folder'}, or delete the files",
        )
    removed = await holds.forget(source)
    detail = "" if status.runs else "no instance runs: the next instep up takes them out"
    return HoldAnswer(source=source, done=True, documents=removed, detail=detail)


async def _find(holds: Holds, source: str) -> None:
    known = [hold.source for hold in await holds.list()]
    if source not in known:
        raise Problem("hold_not_found", f"nothing of {source!r} is held{hint(source, known)}")


def _after(left: Hold | None) -> str:
    """The step of a release that is still to come."""
    if left is None or not left.released:
        return ""
    return "no instance runs: the next instep up takes out those whose files are still gone"


def _why_not(left: Hold | None) -> str:
    if left is None:
        return "the files are back: there is nothing to remove"
    return (
        f"much more has vanished by now, {left.vanished:,} of {left.of:,}: "
        "look at instep removals, and approve again"
    )
