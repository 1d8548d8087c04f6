"""File events of the operating system, as names of files.

`FolderHints` finds out whether a folder gives events at all, and whether they are about the folder
that is listed.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import structlog
from watchfiles import awatch

from services.producer.sources.port import LISTING_SHARE, Root, SourceUnavailable
from shared.settings import WatchedSettings

log = structlog.get_logger()

STEP_MS: Final = 10
"""Silence after which the names are passed on."""
GROUP_MS: Final = 50
"""They are passed on at the latest after this, however many more come."""
RETRY_S: Final = 0.2


class Notices:
    """File system events below a root. A name may come late, twice, or never."""

    def __init__(self, root: Path) -> None:
        self.ready = asyncio.Event()
        """Set once the folder is being watched, or it is clear that it cannot be."""
        self.refusal = ""
        """Why there are no events; empty while there are."""
        self.missing = False
        """There was no folder that could be watched; `ready` says so, too."""
        self._root = root
        self._stop = asyncio.Event()
        self._closed = False

    async def run(self, heard: Callable[[Collection[str]], None]) -> None:
        """Pass on absolute names until cancelled, or until the system proves to give no events."""
        while not self.refusal and not self._closed:
            self._stop = stop = asyncio.Event()
            # awatch sets its watches up before it first waits, so before this is called
            asyncio.get_running_loop().call_soon(self._started, stop, self._is_there())
            try:
                async for changes in awatch(
                    self._root,
                    watch_filter=None,
                    debounce=GROUP_MS,
                    step=STEP_MS,
                    stop_event=self._stop,
                    force_polling=False,
                    ignore_permission_denied=True,
                ):
                    heard({name for _, name in changes})
            except FileNotFoundError:
                self._started(stop, False)
            except (OSError, RuntimeError) as error:
                self.refusal = str(error).split(" about ")[0] or type(error).__name__
                self.ready.set()
                log.warning("no_file_events", reason=type(error).__name__)
            if self.missing:
                stop.set()
                await asyncio.sleep(RETRY_S)

    def restart(self) -> None:
        """Watch the root anew: another folder may have its name by now."""
        if not self.refusal:
            self.ready.clear()
            self._stop.set()

    def close(self) -> None:
        """End `run`, also where a cancellation got lost."""
        self._closed = True
        self._stop.set()

    def _started(self, stop: asyncio.Event, was_there: bool) -> None:
        if not stop.is_set():
            # awatch does not report a folder that it could not watch
            self.missing = not (was_there and self._is_there())
            self.ready.set()
            if self.missing:
                stop.set()

    def _is_there(self) -> bool:
        try:
            with os.scandir(self._root):
                return True
        except OSError:
            return False


class FolderHints:
    """Events of one folder. Implements `services.producer.sources.port.Hints`.

    Args:
        notices: None to look at intervals only.
        note: called once with the intervals, and their reason.
    """

    def __init__(
        self,
        folder: Path,
        settings: WatchedSettings,
        notices: Notices | None,
        note: Callable[[str], None],
    ) -> None:
        self.anew = False
        """The root itself had an event, or a link that led to a folder: a watch set up anew knows
        the folders by the names that they have now."""
        self._folder, self._settings = folder, settings
        self._notices, self._note = notices, note
        self._root: Root | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, heard: Callable[[Collection[str]], None]) -> None:
        """Names are absolute."""
        polled = self._settings.watch == "auto"
        if polled and await asyncio.to_thread(is_on_network, self._folder):
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
        """A root that was exchanged keeps its name, sometimes even its inode."""
        if self._notices is None:
            return
        if self.anew or self._root not in (None, root):
            self._notices.restart()
        self._root, self.anew = root, False
        await self._notices.ready.wait()
        if self._notices.missing:
            raise SourceUnavailable(f"{self._folder}: cannot be watched")

    def interval(self, took_s: float, *, waits: bool) -> float:
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
