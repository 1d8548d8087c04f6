"""The data folder of one machine: its lock, and the port file by which other commands find it.

The lock is the kernel's, so a kill -9 releases it. Light on purpose: every command passes here.

Only the owner may read the folder, because it holds the text of all documents. Files that a person
asks for by name, as `report --html FILE`, follow the person's own umask.
"""

import contextlib
import fcntl
import json
import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from os.path import samestat
from pathlib import Path
from typing import Any, Final

from services.host.owner_key import OWNER_KEY
from shared.domain.errors import GARBAGE, ConfigurationError

LOG: Final = "instep.log"
"""The log of `up` while a terminal shows its lines."""
OPEN: Final = "open.html"
"""The page by which `instep open` hands a browser its link."""
_LOCK_WAIT_S: Final = 0.5
"""Readers of the port file hold the lock for a moment."""
_POLL_S: Final = 0.003
_ORIGIN: Final = "origin"
_ORIGIN_SEEN: Final = "origin.json"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OURS: Final = frozenset(
    {
        ".gitignore",
        OWNER_KEY,
        "instance.json",
        "lock",
        "server",
        "sources.json",
        "store",
        LOG,
        OPEN,
        f"{LOG}.1",
    }
)
"""All that instep keeps in the folder."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A running instance, as other commands find it. `nats_url` holds the server's token."""

    pid: int
    nats_url: str
    gateway_url: str | None
    started_at: str
    version: str


class FolderInUse(ConfigurationError):
    """Another process holds the data folder.

    Args:
        passes: it will be free soon: the holder is a command, or an instance that starts or stops.
    """

    def __init__(self, message: str, *, passes: bool) -> None:
        super().__init__(message)
        self.passes = passes


class DataFolder:
    """Where an instance keeps everything."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_file = path / "lock"
        self._port_file = path / "instance.json"
        self._held: os.stat_result | None = None

    def create(self) -> None:
        """Make the folder, invisible to git. Raises ConfigurationError when that fails."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            ignore = self.path / ".gitignore"
            if not ignore.exists():
                write_private(ignore, "*\n")
        except OSError as error:
            raise ConfigurationError(
                f"{self.path}: {error.strerror}; give another folder with --data"
            ) from None

    def close_to_others(self) -> None:
        """Make a folder that others may read, as version 0.1.0 left it, private; warns if it was.

        A folder with foreign files in it keeps its mode, for it may be anything, as `/tmp`: then
        the store alone is made private. The server's folder always was.
        """
        try:
            names = {entry.name for entry in self.path.iterdir()}
        except OSError:
            return
        is_ours = all(name in _OURS or name.endswith(".new") for name in names)
        folder = self.path if is_ours else self.path / "store"
        if _closed(folder):
            import structlog  # not on the way of a command that finds everything right

            structlog.get_logger().warning(
                "folder_is_private_now", folder=str(folder), before="other users could read it"
            )

    @contextlib.contextmanager
    def lock(self, watching: Sequence[Path] = (), *, briefly: bool = False) -> Iterator[None]:
        """Be the one instance of this folder; files that the process makes meanwhile are private.

        Args:
            watching: folders that the error of a second instance names.
            briefly: for one command, for which a second one may wait.

        Raises:
            FolderInUse: another process holds it; names that process.
            ConfigurationError: the folder cannot be made.
        """
        self.create()
        with private_files(), opened(self._lock_file) as lock:
            deadline = time.monotonic() + _LOCK_WAIT_S
            while not try_lock(lock):
                if time.monotonic() > deadline:
                    raise _taken(self.path, holder_of(lock), briefly=briefly)
                time.sleep(_POLL_S)
            holder = {
                "pid": os.getpid(),
                "command": " ".join(sys.argv),
                "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "watching": [str(path) for path in watching],
                "briefly": briefly,
            }
            os.ftruncate(lock, 0)
            os.pwrite(lock, json.dumps(holder).encode(), 0)
            self.withdraw()
            self.close_to_others()
            self._held = os.fstat(lock)
            try:
                yield
            finally:
                if not self.is_lost():  # else the port file is that of another instance
                    self.withdraw()

    def is_lost(self) -> bool:
        """Whether the lock that this object has taken is in the folder no more.

        Then the folder was deleted, moved or replaced, and another process may lock it.
        """
        try:
            return self._held is not None and not samestat(self._held, self._lock_file.stat())
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:  # unknown
            return False

    def holds_an_index(self) -> bool:
        """Whether a bundled server has ever stored anything here."""
        return (self.path / "server" / "store" / "jetstream").is_dir()

    def announce(self, instance: Instance) -> None:
        """Write the port file; only while holding the lock."""
        write_private(self._port_file, json.dumps(asdict(instance)))

    def withdraw(self) -> None:
        self._port_file.unlink(missing_ok=True)

    def read_instance(self) -> Instance | None:
        """The instance that runs in this folder now; a file that a dead one left is ignored."""
        found = self.instance_and_owner()
        return found and found[0]

    def instance_and_owner(self) -> tuple[Instance, int] | None:
        """The instance that runs in this folder now, and the id of the user who says so."""
        try:
            with self._port_file.open() as file:
                owner = os.fstat(file.fileno()).st_uid
                instance = Instance(**json.loads(file.read()))
            with opened(self._lock_file) as lock:
                if try_lock(lock, fcntl.LOCK_SH) or holder_of(lock).get("pid") != instance.pid:
                    return None
        except (OSError, *GARBAGE):
            return None
        return instance, owner


def is_original(folder: Path) -> bool:
    """Whether the files of a folder are those that `mark_original` saw, and no copy of them.

    A copy has files of its own: another inode, or at least another time of its last change, which
    no program can set. A file system that was rolled back as a whole does not show.
    """
    try:
        seen = json.loads((folder / _ORIGIN_SEEN).read_text())
        return bool(seen == _traits(folder / _ORIGIN))
    except (OSError, *GARBAGE):
        return False


def mark_original(folder: Path) -> None:
    """Let these files count as the original from now on."""
    (folder / _ORIGIN).touch(mode=0o600)
    write_private(folder / _ORIGIN_SEEN, json.dumps(_traits(folder / _ORIGIN)))


def _traits(file: Path) -> Mapping[str, int]:
    found = file.stat()
    return {"inode": found.st_ino, "changed_ns": found.st_ctime_ns}


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """Only the owner may read files and folders that this process and its children make."""
    before = os.umask(_OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def _closed(folder: Path) -> bool:
    """Take away the rights of others; returns whether they had some and have none now."""
    try:
        if not folder.stat().st_mode & _OTHERS:
            return False
        folder.chmod(0o700)
        return not folder.stat().st_mode & _OTHERS
    except OSError:  # it is not there, or another user's
        return False


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


def _taken(folder: Path, holder: Mapping[str, Any], *, briefly: bool) -> FolderInUse:
    who = f"pid {holder.get('pid', 'unknown')}, since {holder.get('started_at', 'unknown')}"
    if holder.get("briefly") is True:
        what = f"{folder} is in use by another command ({who}): try again when that has ended"
        return FolderInUse(what, passes=True)
    if briefly:
        what = f"the instance of {folder} is starting or stopping ({who}): try again in a moment"
        return FolderInUse(what, passes=True)
    folders = holder.get("watching")
    watching = ", ".join(map(str, folders)) if isinstance(folders, list) else ""
    doing = f", watching {watching}" if watching else ""
    fix = "stop that instance or give another folder with --data"
    return FolderInUse(f"{folder} is in use ({who}{doing}); {fix}", passes=False)


def write_private(path: Path, text: str) -> None:
    """Replace the file at once; only its owner may read it."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123
        file.write(text)
    new.replace(path)
