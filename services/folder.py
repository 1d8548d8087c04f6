"""The data folder of one machine: its lock, and the port file by which other commands find it.

The lock is the kernel's, so a kill -9 releases it. Light on purpose: every command passes here.
"""

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from shared.errors import GARBAGE, ConfigurationError

_LOCK_WAIT_S: Final = 0.5
"""Readers of the port file hold the lock for a moment."""
_POLL_S: Final = 0.003
_ORIGIN: Final = "origin"
_ORIGIN_SEEN: Final = "origin.json"


@dataclass(frozen=True, slots=True)
class Instance:
    """A running instance, as other commands find it. `nats_url` holds the server's token."""

    pid: int
    nats_url: str
    gateway_url: str | None
    started_at: str
    version: str


class DataFolder:
    """Where an instance keeps everything."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_file = path / "lock"
        self._port_file = path / "instance.json"

    def create(self) -> None:
        """Make the folder, invisible to git. Raises ConfigurationError when it cannot be."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            ignore = self.path / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
        except OSError as error:
            raise ConfigurationError(
                f"{self.path}: {error.strerror}; give another folder with --data"
            ) from None

    @contextlib.contextmanager
    def lock(self, watching: Sequence[Path] = ()) -> Iterator[None]:
        """Be the one instance of this folder.

        Args:
            watching: folders to name to whoever comes second.

        Raises:
            ConfigurationError: another process is; says which.
        """
        self.create()
        with opened(self._lock_file) as lock:
            deadline = time.monotonic() + _LOCK_WAIT_S
            while not try_lock(lock):
                if time.monotonic() > deadline:
                    raise ConfigurationError(_taken(self.path, holder_of(lock)))
                time.sleep(_POLL_S)
            holder = {
                "pid": os.getpid(),
                "command": " ".join(sys.argv),
                "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "watching": [str(path) for path in watching],
            }
            os.ftruncate(lock, 0)
            os.pwrite(lock, json.dumps(holder).encode(), 0)
            self.withdraw()
            try:
                yield
            finally:
                self.withdraw()

    def announce(self, instance: Instance) -> None:
        """Write the port file; only while holding the lock."""
        write_private(self._port_file, json.dumps(asdict(instance)))

    def withdraw(self) -> None:
        self._port_file.unlink(missing_ok=True)

    def read_instance(self) -> Instance | None:
        """The instance that runs in this folder now; a file that a dead one left is ignored."""
        try:
            instance = Instance(**json.loads(self._port_file.read_text()))
            with opened(self._lock_file) as lock:
                if try_lock(lock, fcntl.LOCK_SH) or holder_of(lock).get("pid") != instance.pid:
                    return None
        except (OSError, *GARBAGE):
            return None
        return instance


def is_original(folder: Path) -> bool:
    """Whether the files of a folder are those that `mark_original` saw, and no copy of them.

    A copy has files of its own: another inode, or at least another time of its last change, which
    nobody can set. A file system that was rolled back as a whole does not show.
    """
    try:
        seen = json.loads((folder / _ORIGIN_SEEN).read_text())
        return bool(seen == _traits(folder / _ORIGIN))
    except (OSError, *GARBAGE):
        return False


def mark_original(folder: Path) -> None:
    """Let these files count as the original from now on."""
    (folder / _ORIGIN).touch()
    write_private(folder / _ORIGIN_SEEN, json.dumps(_traits(folder / _ORIGIN)))


def _traits(file: Path) -> Mapping[str, int]:
    found = file.stat()
    return {"inode": found.st_ino, "changed_ns": found.st_ctime_ns}


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor that no child inherits."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def holder_of(lock: int) -> Mapping[str, Any]:
    with contextlib.suppress(*GARBAGE):
        holder = json.loads(os.pread(lock, 65_536, 0))
        if isinstance(holder, dict):
            return holder
    return {}


def _taken(folder: Path, holder: Mapping[str, Any]) -> str:
    who = f"pid {holder.get('pid', 'unknown')}, since {holder.get('started_at', 'unknown')}"
    folders = holder.get("watching")
    watching = ", ".join(map(str, folders)) if isinstance(folders, list) else ""
    doing = f", watching {watching}" if watching else ""
    return (
        f"{folder} is in use ({who}{doing}); stop that instance or give another folder with --data"
    )


def write_private(path: Path, text: str) -> None:
    """Replace the file at once; only its owner may read it."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123
        file.write(text)
    new.replace(path)
