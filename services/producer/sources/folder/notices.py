"""What the operating system tells about a folder: names of files that something happened to."""

import asyncio
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import structlog
from watchfiles import awatch

log = structlog.get_logger()

STEP_MS: Final = 10
"""Silence after which what was heard is told."""
GROUP_MS: Final = 50
"""Told at the latest after this, however much more comes."""
RETRY_S: Final = 0.2


class Notices:
    """File system events below a root. A name may be told late, twice, or never."""

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
        """Tell absolute names until cancelled, or until events turn out not to be had."""
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
            # awatch says nothing about a folder that it could not watch
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
