"""After a full disk: the server is started again as soon as there is room.

After one failed write, nats-server 2.15 never writes to that stream again, whatever room there is
by then; its API goes on answering, and every publish waits in vain. Only its log tells.
"""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

LOG: Final = "nats-server.log"
LOOK_S: Final = 2.0
ROOM_BYTES: Final = 32 * 1024**2
"""Free space below which a new start would only fail again."""
SHORT_BYTES: Final = 4 * 1024**2
"""Free space below which a write may have failed; the log, on the same disk, may not tell."""
_FAILED: Final = b"failed to store a msg"
_FULL: Final = (b"no space left on device", b"disk quota exceeded")


def tells_of_full_disk(log: bytes, pid: int | None) -> bool:
    """Whether the lines of this server report a failed write for want of room."""
    head = b"[%d] " % (pid or 0)
    lines = [line for line in log.splitlines() if line.startswith(head) and _FAILED in line]
    return any(sign in line for line in lines for sign in _FULL)


@dataclass(slots=True)
class NewLines:
    """The lines of a log since the last look; the server may have begun a new log meanwhile."""

    file: Path
    _at: int = 0

    def skip(self) -> None:
        """Skip the lines that are there by now."""
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


def free_bytes(folder: Path) -> int:
    """Raises OSError."""
    return shutil.disk_usage(folder).free


def has_room(folder: Path) -> bool:
    """Whether a server can be started; true where the free space is unknown."""
    try:
        return free_bytes(folder) >= ROOM_BYTES
    except OSError:
        return True


@dataclass(slots=True)
class FullDisk:
    """Whether the server has to be started again. `look` is the only part that does I/O."""

    folder: Path
    pid: int | None = None
    """The server of the next lines; the lines of an earlier one no longer count."""
    stuck: bool = False
    """A write of it has failed, or may have."""
    _lines: NewLines = field(init=False)

    def __post_init__(self) -> None:
        self._lines = NewLines(self.folder / LOG)
        self._lines.skip()

    def look(self, pid: int | None) -> bool:
        """Whether writes have failed and there is room again. Raises OSError."""
        if pid != self.pid:
            self.pid, self.stuck = pid, False
        free = free_bytes(self.folder)
        self.stuck = self.stuck or free < SHORT_BYTES
        self.stuck = tells_of_full_disk(self._lines.read(), pid) or self.stuck
        return self.stuck and free >= ROOM_BYTES


async def watch_disk(
    folder: Path, pid: Callable[[], int | None], restart: Callable[[], None]
) -> None:
    """Call `restart` when writes have failed and there is room again. Until cancelled.

    Args:
        folder: of the server; its log is in there.
        pid: of the server that runs now.
    """
    import structlog  # not on the way of a command that starts no server

    log = structlog.get_logger(__name__)
    disk, blind = FullDisk(folder, pid()), False
    while True:
        await asyncio.sleep(LOOK_S)
        was = disk.stuck
        try:
            is_over = await asyncio.to_thread(disk.look, pid())
        except OSError as error:  # the server is changing its log; look again
            if not blind:
                log.warning("disk_cannot_be_looked_at", folder=str(folder), reason=error.strerror)
            blind = True
            continue
        blind = False
        if disk.stuck and not was:
            reason = "the disk is full: make room, and instep goes on"
            log.warning("disk_full", folder=str(folder), reason=reason)
        if is_over:
            reason = "the disk has room again"
            log.warning("disk_has_room_again", folder=str(folder), reason=reason)
            disk.stuck = False
            restart()
