"""Whether a folder's file system tells about changes."""

import re
from pathlib import Path
from typing import Final

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
