"""`instep up`, `run` and `provision`: the commands whose work is the runtime's."""

import asyncio
import importlib
import json
import signal
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from services.cli import exits
from services.cli.commands.completion import version
from services.cli.exits import Stop
from services.cli.options import common
from services.cli.suggest import nearest
from services.cli.terminal import print_json
from services.cli.up.frame import exit_needs_you
from services.cli.up.live import LiveView
from services.cli.up.sources import name_folders, remembered
from services.host.data_folder import DataFolder, private_files, write_private
from services.host.memory import tame_heap
from services.host.options import FolderArgument, Options, UpOptions
from shared.domain.errors import GARBAGE
from shared.observe.progress import Progress

NAMES: Final = "sources.json"
"""In the data folder: which folder has which name."""


def run(args: Namespace, options: Options) -> int:
    """Index folders; then watch them, or end when everything is in step."""
    signal.signal(signal.SIGTERM, _stopped)
    tame_heap()
    _check(args)
    folders = _folders(args, options)
    progress = Progress()
    view = LiveView(
        progress,
        version(),
        str(options.data),
        folders=[folder.typed for folder in folders],
        names=[folder.name for folder in folders],
        json=options.json,
        once=args.once,
        quiet=options.quiet,
        color=options.color,
    )
    view.start()
    wanted = UpOptions(
        **common(args),
        folders=tuple(folders),
        include=tuple(args.include),
        exclude=tuple(args.exclude),
        once=args.once,
        strict=args.strict,
        port=args.port,
        progress=progress,
        view=view,
    )
    _require_sources(wanted)
    _remember(options, folders)
    try:
        status: int = asyncio.run(importlib.import_module("services.host.up").up(wanted))
    finally:
        view.stop()
    return _end(view, status, args, options)


def _stopped(*_: object) -> None:
    """A stop before the event loop listens for it: nothing has begun that must end in order."""
    raise SystemExit(exits.DONE)


def run_services(args: Namespace, options: Options) -> int:
    """Run some services until stopped."""
    signal.signal(signal.SIGTERM, _stopped)
    tame_heap()
    names = tuple(dict.fromkeys(args.services))
    with private_files():
        status: int = asyncio.run(importlib.import_module("services.host.run").run(names, options))
    return status


def run_provision(_: Namespace, options: Options) -> int:
    """Create what is missing on the bus, and say what was done."""
    done: Sequence[str] = asyncio.run(_runtime().provision(options))
    if options.json:
        print_json({"done": list(done)})
    else:
        print("\n".join(done) or "everything is there")
    return exits.DONE


def _end(view: LiveView, status: int, args: Namespace, options: Options) -> int:
    summary = view.summary
    if not args.once or summary is None:
        return status
    if options.json:
        print_json(dict(summary))
    if status == exits.DONE and exit_needs_you(summary, strict=args.strict):
        return exits.NEEDS_YOU
    return status


def _runtime() -> Any:
    return importlib.import_module("services.host.runtime")


def _check(args: Namespace) -> None:
    if args.strict and not args.once:
        raise Stop("--strict goes with --once")
    if args.port is not None and not 0 <= args.port <= 65_535:
        raise Stop("--port is 0 to 65535")
    if not args.paths and (args.source or args.include or args.exclude):
        raise Stop("--source, --include and --exclude go with a PATH")


def _folders(args: Namespace, options: Options) -> list[FolderArgument]:
    paths = {_folder(typed): typed for typed in args.paths}
    typed = [(text, path) for path, text in paths.items()]
    if args.source:
        _check_name(args.source)
    known = {name: path for name, path in _known(options).items() if Path(path).is_dir()}
    return name_folders(typed, given=args.source, known=known) if typed else []


def _folder(typed: str) -> Path:
    path = Path(typed)
    if path.is_file():
        raise Stop(f"{typed} is a file", fix="give its folder, or: instep publish FILE --source S")
    if not path.is_dir():
        parent = path.absolute().parent
        beside = [p.name for p in parent.iterdir() if p.is_dir()] if parent.is_dir() else []
        near = nearest(path.name, beside)
        meant = f"; did you mean {path.parent / near}?" if near else ""
        raise Stop(f"{typed}: no such folder{meant}")
    return path.resolve()


def _check_name(name: str) -> None:
    from shared.domain.errors import DocumentRefused
    from shared.domain.ids import check_source

    try:
        check_source(name)
    except DocumentRefused as error:
        raise Stop(f"--source {name}: {error.reason}") from None


def _require_sources(options: UpOptions) -> None:
    """Fail early, and tell every fault of the settings."""
    if not options.settings().sources:
        raise Stop("nothing to watch", fix="instep up PATH, or instep settings --init")


def _known(options: Options) -> Mapping[str, str]:
    try:
        names = json.loads((options.data / NAMES).read_text(encoding="utf-8"))
        return {str(name): str(path) for name, path in names.items()}
    except (OSError, *GARBAGE):
        return {}


def _remember(options: Options, folders: Sequence[FolderArgument]) -> None:
    known = _known(options)
    names = remembered(known, folders)
    if names != known:
        DataFolder(options.data).create()
        write_private(options.data / NAMES, json.dumps(names, indent=2))
