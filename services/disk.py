"""After a full disk: the server is started again as soon as there is room.

nats-server 2.15 does not write to a stream again that it once could not write to, whatever room
there is by then; its API goes on answering, and every publish waits in vain. Only its log tells.
"""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOG: Final = "nats-server.log"
LOOK_S: Final = 2.0
ROOM_BYTES: Final = 32 * 1024**2
"""Free space below which a new start would only fail again."""
_FAILED: Final = b"failed to store a msg"
_FULL: Final = (b"no space left on device", b"disk quota exceeded")


def tells_of_full_disk(log: bytes) -> bool:
    """Whether the lines say that a message could not be written for want of room."""
    return any(_FAILED in line and any(sign in line for sign in _FULL) for line in log.splitlines())


@dataclass(slots=True)
class NewLines:
    """What a log has got since the last look; it may be exchanged for a new one meanwhile."""

    file: Path
    _at: int = 0

    def skip(self) -> None:
        """Forget what is there by now."""
        self._at = self._size()

    def read(self) -> bytes:
        size = self._size()
        if size < self._at:
            self._at = 0
        if size == self._at:
            return b""
        with self.file.open("rb") as log:
            log.seek(self._at)
            found = log.read()
        self._at += len(found)
        return found

    def _size(self) -> int:
        try:
            return self.file.stat().st_size
        except OSError:
            return 0


def has_room(folder: Path) -> bool:
    return shutil.disk_usage(folder).free >= ROOM_BYTES


async def watch_disk(
    folder: Path, restarts: Callable[[], int], restart: Callable[[], None]
) -> None:
    """Call `restart` when writes have failed and there is room again. Until cancelled.

    Args:
        folder: of the server; its log is in there.
        restarts: how often the server has been started again, for whatever reason.
    """
    import structlog  # not on the way of a command that starts no server

    log = structlog.get_logger(__name__)
    lines, started, stuck = NewLines(folder / LOG), restarts(), False
    lines.skip()
    while True:
        await asyncio.sleep(LOOK_S)
        if restarts() != started:  # a new server writes; the last words of the old one are old
            started, stuck = restarts(), False
            lines.skip()
            continue
        if not stuck and tells_of_full_disk(await asyncio.to_thread(lines.read)):
            stuck = True
            log.warning("disk_full", folder=str(folder))
        if stuck and has_room(folder):
            log.warning("disk_has_room_again", folder=str(folder))
            stuck = False
            restart()
