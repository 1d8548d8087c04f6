"""The owner's key of an instance: a file in its data folder that only its owner may read.

Light on purpose: commands and clients read it.
"""

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from os.path import samestat
from pathlib import Path
from typing import Final

from shared.domain.errors import ConfigurationError

OWNER_KEY: Final = "gateway.key"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_BYTES: Final = 256


_OPEN: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def owner_key(data: Path) -> str | None:
    """The owner's key of the instance of a data folder; None: there is none.

    Raises:
        ConfigurationError: it cannot be read, is not this user's, or others can read it: whoever
            has put it there may listen where it would be shown.
    """
    file = data / OWNER_KEY
    try:
        with _opened(file, os.O_RDONLY) as descriptor:
            found = _of_this_user(descriptor, file)
            if found.st_mode & _OTHERS:
                raise ConfigurationError(
                    f"{file}: other users can read it: start the instance again, which makes "
                    "another key"
                )
            return _text_in(descriptor) or None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None


def made_owner_key(data: Path) -> tuple[str, bool]:
    """The owner's key, and whether another one stood in its place.

    A key that other users could read is replaced: they may know it. Its file is, too: they may have
    it open. Processes that begin at the same time get the same key.

    Raises:
        ConfigurationError: the file cannot be made, or it is no file of this user.
    """
    file = data / OWNER_KEY
    try:
        while True:
            with _opened(file, os.O_RDWR | os.O_CREAT) as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if _is_there(descriptor, file):
                    return _key_in(descriptor, file)
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None


@contextlib.contextmanager
def _opened(file: Path, how: int) -> Iterator[int]:
    descriptor = os.open(file, how | _OPEN, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_there(descriptor: int, file: Path) -> bool:
    """Whether the file is still in its place: another process may have replaced it."""
    try:
        return samestat(os.fstat(descriptor), file.lstat())
    except FileNotFoundError:
        return False


def _of_this_user(descriptor: int, file: Path) -> os.stat_result:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(f"{file} is not a file: delete it, and start the instance again")
    if found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"{file} is not a file of this user (uid {os.geteuid()}), but of uid {found.st_uid}: "
            "act as that user, or delete it and start the instance again"
        )
    return found


def _text_in(descriptor: int) -> str:
    return os.pread(descriptor, _BYTES, 0).decode("ascii", "replace").strip()


def _key_in(descriptor: int, file: Path) -> tuple[str, bool]:
    """The key of a locked file; where there is none to keep, another file takes its place."""
    found, known = _of_this_user(descriptor, file), _text_in(descriptor)
    if known and not found.st_mode & _OTHERS:
        return known, False
    key, beside = secrets.token_urlsafe(32), file.with_name(f"{file.name}.{os.getpid()}.new")
    beside.unlink(missing_ok=True)
    with _opened(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as new:
        os.fchmod(new, 0o600)
        os.write(new, f"{key}\n".encode())
        os.fsync(new)
    beside.replace(file)
    return key, bool(known)
