"""Alerts about the bus: full streams, and failures that the ledger lacks. Pure."""

from collections.abc import Iterable
from typing import Final

from services.gateway.models import CheckView
from shared.ports import StreamCapacity

NEARLY: Final = 0.8
FULL: Final = 0.98
"""A message may not fit although a little room is left."""


def alerts(streams: Iterable[StreamCapacity], unrecorded: int) -> list[CheckView]:
    """One line about the room on the bus, and one about failures on their way to the ledger."""
    tight = sorted((r for r in streams if r.refuses and r.share >= NEARLY), key=lambda r: -r.share)
    found = [_room(tight)]
    if unrecorded:
        found.append(
            CheckView(
                name="failures",
                level="WARN",
                text=f"{unrecorded:,} dead letters are not noted at their documents yet",
                fix="wait; if they stay: instep run validator",
            )
        )
    return found


def _room(tight: list[StreamCapacity]) -> CheckView:
    if not tight:
        return CheckView(name="room", level="ok", text="every stream has room")
    named = ", ".join(f"{room.name} {min(100, int(room.share * 100))} %" for room in tight)
    full = tight[0].share >= FULL
    return CheckView(
        name="room",
        level="FAIL" if full else "WARN",
        text=f"{'full' if full else 'nearly full'}: {named}; "
        f"{'work waits, nothing is lost' if full else 'work will wait when it is full'}",
        fix="instep status shows which stage is behind: start more of it, or dismiss dead letters",
    )
