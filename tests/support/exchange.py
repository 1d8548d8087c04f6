"""Files and folders that are exchanged under a reader."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def at_its_opening(
    monkeypatch: pytest.MonkeyPatch, place: Path, exchange: Callable[[Path], object]
) -> list[Path]:
    """Put something else in the place when it, or a file below it, is about to be opened.

    Returns:
        The place, once it has happened.
    """
    done: list[Path] = []
    opening = os.open

    def open_(path, flags, mode=0o777, *, dir_fd=None):
        if place.name in Path(path).parts and not done:
            done.append(place)
            place.rename(place.with_name("gone"))
            exchange(place)
        return opening(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", open_)
    return done


_AGAIN_AND_AGAIN = """
import os, select, sys
place, target = sys.argv[1:]
while not select.select([sys.stdin], [], [], 0)[0]:
    os.symlink(target, place + ".link")
    os.rename(place, place + ".aside")
    os.rename(place + ".link", place)
    os.unlink(place)
    os.rename(place + ".aside", place)
"""


@contextmanager
def again_and_again(place: Path, target: Path) -> Iterator[None]:
    """A process that turns the place into a link to the target, and back, until the end."""
    command = [sys.executable, "-c", _AGAIN_AND_AGAIN, str(place), str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            yield
        finally:
            assert process.stdin
            process.stdin.close()
            assert process.wait(60) == 0
