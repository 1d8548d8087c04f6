"""A command at a terminal of its own: what a person would read there."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """The screen of a process, as text."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._master, self._read = master, bytearray()
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(self._master, 65_536):
                self._read += data

    @property
    def lines(self) -> list[str]:
        """Everything that was ever shown, redrawn lines too."""
        plain = ESCAPES.sub("\n", self._read.decode(errors="replace"))
        return [line.strip() for line in re.split(r"[\r\n]+", plain) if line.strip()]

    def says(self, words: str) -> bool:
        return any(words in line for line in self.lines)

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(300)
        self._reader.join(60)


@contextlib.contextmanager
def terminal(
    command: Sequence[str], *, cwd: Path, environ: Mapping[str, str]
) -> Iterator[Terminal]:
    """Run a command with standard output and error on a pseudo-terminal of 100 columns."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**environ, "COLUMNS": "100", "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = Terminal(process, master)
    try:
        yield shown
    finally:
        shown.stop()
        os.close(master)
