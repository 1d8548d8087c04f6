"""Names for the folders given to `up`. Pure.

A source's name is part of the identity of its documents, so a folder keeps the name it once got,
in whatever order and company it is given later.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Final

from services.cli.exits import Stop
from services.host.options import FolderArgument

LONGEST: Final = 40


def slug(text: str) -> str:
    """`My Notes (2026)` becomes `my-notes-2026`; what has no letter or digit becomes `docs`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST].strip("-") or "docs"


def name_folders(
    paths: Sequence[tuple[str, Path]], *, given: str | None, known: Mapping[str, str]
) -> list[FolderArgument]:
    """Name each folder.

    Args:
        paths: as typed, and absolute; no two the same or one inside the other.
        given: the name of `--source`, for a single folder.
        known: name to absolute path, of folders that were named before in this data folder and
            are still there.

    Raises:
        Stop: `given` with several folders or belonging to another, or one inside another.
    """
    if given and len(paths) > 1:
        raise Stop(
            "--source names one folder, and there are several", fix="name them in instep.toml"
        )
    _refuse_overlap(paths)
    if given and known.get(given, str(paths[0][1])) != str(paths[0][1]):
        raise Stop(f"source {given!r} is {known[given]} already", fix="give another --source")
    by_path = {path: name for name, path in known.items()}
    taken = set(known)
    folders = []
    for typed, path in paths:
        name = given or by_path.get(str(path)) or _free(path, taken)
        taken.add(name)
        folders.append(FolderArgument(name, path, typed))
    return folders


def remembered(known: Mapping[str, str], folders: Sequence[FolderArgument]) -> dict[str, str]:
    """The names to keep: one path a name, one name a path, the newest wins."""
    names = {folder.name: str(folder.path) for folder in folders}
    paths = set(names.values())
    old = {n: path for n, path in known.items() if n not in names and path not in paths}
    return old | names


def _free(path: PurePath, taken: set[str]) -> str:
    """The folder's own name; where another folder has it, with the parent's in front."""
    parts = [part for part in path.parts if part not in ("/", "")] or ["docs"]
    for count in range(1, min(4, len(parts) + 1)):
        name = slug("-".join(parts[-count:]))
        if name not in taken:
            return name
    base = slug(parts[-1])[: LONGEST - 4]
    return next(name for n in range(2, 1000) if (name := f"{base}-{n}") not in taken)


def _refuse_overlap(paths: Sequence[tuple[str, Path]]) -> None:
    for typed, path in paths:
        for other_typed, other in paths:
            if path != other and path.is_relative_to(other):
                raise Stop(
                    f"{typed} is inside {other_typed}: its documents would be there twice",
                    fix=f"give {other_typed} alone",
                )
