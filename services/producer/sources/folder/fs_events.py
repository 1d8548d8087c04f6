"""Whether file events of a folder can be had, and that they are about the folder that is listed."""

import asyncio
import contextlib
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from services.producer.sources.folder.folder import SourceUnavailable
from services.producer.sources.folder.listing_store import Root
from services.producer.sources.folder.notices import Notices
from shared.settings import Source

LISTING_SHARE: Final = 0.05
"""Most of the time that listing may take when there are no events."""


class Hearing:
    """Events of one folder.

    Args:
        notices: None to look at intervals only.
        note: told once what the intervals are, and why.
    """

    def __init__(
        self, settings: Source, notices: Notices | None, note: Callable[[str], None]
    ) -> None:
        self.exchanged = False
        """Something happened to the root itself."""
        self._settings, self._notices, self._note = settings, notices, note
        self._root: Root | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, folder: Path, heard: Callable[[Collection[str]], None]) -> None:
        """Begin to tell absolute names, where that is possible."""
        if self._settings.watch == "auto" and await asyncio.to_thread(is_on_network, folder):
            self._notices = None
            self._note(f"on a network: listed every {self._settings.poll:g} s")
        if self._notices is not None:
            self._task = asyncio.create_task(self._notices.run(heard))

    async def stop(self) -> None:
        if self._task is not None and self._notices is not None:
            self._notices.close()
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def watch_the_same(self, root: Root) -> None:
        """Be sure that events are about the folder that is about to be listed.

        A root that was exchanged keeps its name, sometimes even its inode.

        Raises:
            SourceUnavailable: it could not be watched.
        """
        if self._notices is None:
            return
        if self.exchanged or self._root not in (None, root):
            self._notices.restart()
        self._root, self.exchanged = root, False
        await self._notices.ready.wait()
        if self._notices.missing:
            raise SourceUnavailable(f"{self._settings.path}: cannot be watched")

    def interval(self, took_s: float, *, waits: bool) -> float:
        """Seconds until the next listing.

        Args:
            took_s: how long the last one took.
            waits: somebody waits for files to come back.
        """
        slowly = took_s / LISTING_SHARE
        if self._notices is not None and not self._notices.refusal:
            return max(self._settings.poll, slowly) if waits else self._settings.rescan
        if self._notices is not None:
            every = f"listed every {self._settings.poll:g} s"
            self._note(f"no file events ({self._notices.refusal}): {every}")
        return max(self._settings.poll, slowly)


NETWORK_FILE_SYSTEMS: Final = re.compile(
    r"9p|afs|afpfs|ceph|cifs|drvfs|fakeowner|nfs4?|osxfs|prl_fs|smb3|smbfs|vboxsf|virtiofs|vmhgfs"
    r"|fuse\.(glusterfs|grpcfuse|osxfs|rclone|s3fs|sshfs)"
)
"""Their changes, or those of other machines, raise no events here."""


def needs_polling(root: Path, mounts: str) -> bool:
    """Whether the root lies on a file system whose changes raise no events.

    Args:
        mounts: the text of /proc/self/mounts.
    """
    real, best, kind = str(root.resolve()), "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        point = fields[1].replace("\\040", " ") if len(fields) > 2 else ""
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if point and inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return NETWORK_FILE_SYSTEMS.fullmatch(kind) is not None


def is_on_network(root: Path) -> bool:
    """The same, asking this machine; False where it cannot say."""
    try:
        return needs_polling(root, Path("/proc/self/mounts").read_text(errors="replace"))
    except OSError:
        return False
