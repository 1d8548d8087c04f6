"""`instep doctor`: look, then let `checkup` judge. A look that fails is a finding, not an error."""

import os
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from services.cli import exits
from services.cli.api import client
from services.cli.commands.checkup import DoctorObservations, FolderSeen, findings
from services.cli.commands.completion import version
from services.cli.exits import Stop
from services.cli.options import Surroundings
from services.cli.terminal import Terminal, print_json
from services.cli.text import checks as text
from services.host.data_folder import DataFolder
from services.host.options import Options
from shared.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from shared.settings import Settings

MAX_WATCHES: Final = Path("/proc/sys/fs/inotify/max_user_watches")
MOST_FOLDERS: Final = 1_000_000


def run(args: Namespace, options: Options) -> int:
    """Print every check; status 1 when one fails."""
    found = [asdict(finding) for finding in findings(look(options))]
    failures = sum(f["level"] == "FAIL" for f in found)
    warnings = sum(f["level"] == "WARN" for f in found)
    if options.json or args.format == "json":
        print_json({"checks": found, "failures": failures, "warnings": warnings})
    else:
        print("\n".join(text.lines(found, Terminal.of(sys.stdout, color=options.color))))
    return exits.NEEDS_YOU if failures else exits.DONE


def look(options: Options) -> DoctorObservations:
    """Everything that can be seen from here."""
    seen = _data(options)
    try:
        settings = options.settings()
    except ConfigurationError as error:
        return _ask(options, replace(seen, settings_faults=str(error).splitlines()))
    seen = replace(
        seen,
        own_server=settings.bus.url is None,
        server=_server_version(),
        folders=_folders(settings, options),
        watches=_number_in(MAX_WATCHES),
        numeric=settings.embedding.numeric,
    )
    return _ask(options, _model(settings, seen))


def _data(options: Options) -> DoctorObservations:
    folder = options.data
    exists = folder.is_dir()
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    return DoctorObservations(
        data=str(folder),
        data_exists=exists,
        data_writable=os.access(nearest, os.W_OK | os.X_OK),
        free_bytes=shutil.disk_usage(nearest).free,
        version=version(),
    )


def _ask(options: Options, seen: DoctorObservations) -> DoctorObservations:
    instance = DataFolder(options.data).read_instance()
    beside = instance.gateway_url if instance else None
    url = options.url or beside or Surroundings.of(os.environ).url
    if url is None:
        return seen
    about: Mapping[str, Any] | None = asdict(instance) if instance else None
    try:
        body = client.ask(url, "checks", {"deep": True}, key=options.key())
        sources = client.ask(url, "status", {}, key=options.key())["sources"]
    except Stop as stop:
        return replace(seen, instance=about, unreachable=stop.line)
    if not beside:  # it runs elsewhere, and so do its folders
        return replace(seen, checks=body["checks"], folders=())
    known = {folder.source: folder for folder in seen.folders}
    watched = [
        known.get(s["name"]) or _folder(s["name"], Path(s["path"]), "auto", options.data)
        for s in sources
        if s["path"]
    ]
    return replace(seen, instance=about, checks=body["checks"], folders=watched)


def _server_version() -> str:
    from services.host.nats_server.local import find_server

    try:
        told = subprocess.run(
            [find_server(), "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (ConfigurationError, OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.strip().rpartition(" ")[2].removeprefix("v")


def _folders(settings: "Settings", options: Options) -> Sequence[FolderSeen]:
    return [
        _folder(name, source.path, source.watch, options.data)
        for name, source in settings.sources.items()
        if source.path is not None
    ]


def _folder(source: str, path: Path, watch: str, data: Path) -> FolderSeen:
    readable = path.is_dir() and os.access(path, os.R_OK | os.X_OK)
    count = count_folders(path, never=data.absolute()) if readable else 0
    return FolderSeen(source, str(path), readable, count, watch)


def count_folders(root: Path, *, never: Path, most: int = MOST_FOLDERS) -> int:
    """Folders below and with `root`, hidden ones and `never` left out; at most `most`."""
    count = 0
    for here, folders, _ in os.walk(root):
        count += 1
        if count >= most:
            break
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and Path(here, name).absolute() != never
        ]
    return count


def _number_in(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _model(settings: "Settings", seen: DoctorObservations) -> DoctorObservations:
    from shared.encoders.local import cpu, files
    from shared.encoders.models import MINILM

    model = settings.embedding.model
    seen = replace(seen, model=model, int8_flags=cpu.flags() & cpu.INT8_FLAGS)
    if model != MINILM.name:
        return replace(seen, model_checked=False)
    try:
        files.verify(files.packaged_folder() / files.WEIGHTS, MINILM.weights_sha256)
    except (ConfigurationError, OSError) as error:
        return replace(seen, model_fault=str(error))
    return seen
