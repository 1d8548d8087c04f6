"""The owner's key of an instance: a file in its data folder that only its owner may read.

Light on purpose: commands and clients read it.
"""

import fcntl
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from shared.domain.errors import ConfigurationError

OWNER_KEY: Final = "gateway.key"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_BYTES: Final = 256


def owner_key(data: Path) -> str | None:
    """The owner's key of the instance of a data folder; None: there is none for this user."""
    try:
        return (data / OWNER_KEY).read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def made_owner_key(data: Path) -> tuple[str, bool]:
    """The owner's key, and whether another one stood in its place.

    A key that other users could read is replaced: they may know it. Processes that begin at the
    same time get the same key.

    Raises:
        ConfigurationError: the file cannot be made, or it is no file of this user.
    """
    file = data / OWNER_KEY
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(file, flags, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return _key_in(descriptor, file)
    finally:
        os.close(descriptor)


def _key_in(descriptor: int, file: Path) -> tuple[str, bool]:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise ConfigurationError(f"{file} is not a file of this user: delete it, and start again")
    known = os.pread(descriptor, _BYTES, 0).decode("ascii", "replace").strip()
    was_open = bool(found.st_mode & _OTHERS)
    if known and not was_open:
        return known, False
    os.fchmod(descriptor, 0o600)
    key = secrets.token_urlsafe(32)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{key}\n".encode(), 0)
    os.fsync(descriptor)
    return key, bool(known)
