"""`instep up`, `run` and `provision`, and the names of the folders that are given to `up`.

A source's name is part of the identity of its documents, so a folder keeps the name it once got,
in any order and with any other folders.
"""

import asyncio
import importlib
import json
import signal
from argparse import Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any, Final

from services.cli import exits
from services.cli.commands.completion import version
from services.cli.exits import Stop
from services.cli.keys.gateway import show
from services.cli.options import common
from services.cli.suggest import LONGEST, check_name, nearest, slug
from services.cli.terminal import print_json
from services.cli.up.frame import exit_needs_you
from services.cli.up.live import LiveView
from services.host.data_folder import DataFolder, private_files, write_private
from services.host.memory import tame_heap
from services.host.options import Options, SourceArgument, UpOptions, is_address
from shared.domain.addresses import bucket_address, sql_address, web_address
from shared.domain.errors import GARBAGE
from shared.observe.progress import Progress


def name_folders(
    paths: Sequence[tuple[str, str]], *, given: str | None, known: Mapping[str, str]
) -> list[SourceArgument]:
    """Name each folder, bucket or sitemap.

    Args:
        paths: as typed, and absolute or an address; no two the same or one inside the other.
        given: the name of `--source`, for a single folder.
        known: name to absolute path or address, of those that were named before in this data
            folder; the folders are still there.

    Raises:
        Stop: `given` with several folders or belonging to another, or one inside another.
    """
    if given and len(paths) > 1:
        raise Stop(
            "--source names one folder, and there are several", fix="name them in instep.toml"
        )
    _refuse_overlap(paths)
    if given and known.get(given, paths[0][1]) != paths[0][1]:
        raise Stop(f"source {given!r} is {known[given]} already", fix="give another --source")
    by_path = {path: name for name, path in known.items()}
    taken = set(known)
    folders = []
    for typed, place in paths:
        name = given or by_path.get(place) or _free(parts_of(place), taken)
        taken.add(name)
        folders.append(SourceArgument(name, place, typed))
    return folders


def remembered(known: Mapping[str, str], folders: Sequence[SourceArgument]) -> dict[str, str]:
    """The names to keep: one path a name, one name a path, the newest wins."""
    names = {folder.name: folder.place for folder in folders}
    paths = set(names.values())
    old = {n: path for n, path in known.items() if n not in names and path not in paths}
    return old | names


def parts_of(place: str) -> list[str]:
    """The names from the root to a folder, or from a bucket to its prefix; the host of a page."""
    if web_address.is_web(place):
        return [web_address.host_of(place)]
    path = place.partition("://")[2] if is_address(place) else place
    return [part for part in PurePath(path).parts if part not in ("/", "")]


def _free(names: Sequence[str], taken: set[str]) -> str:
    """The folder's own name; where another folder has it, with the parent's in front."""
    parts = names or ["docs"]
    for count in range(1, min(4, len(parts) + 1)):
        name = slug("-".join(parts[-count:]))
        if name not in taken:
            return name
    base = slug(parts[-1])[: LONGEST - 4]
    return next(name for n in range(2, 1000) if (name := f"{base}-{n}") not in taken)


def _refuse_overlap(paths: Sequence[tuple[str, str]]) -> None:
    for typed, place in paths:
        for other_typed, other in paths:
            if place.startswith(f"{other.rstrip('/')}/"):
                raise Stop(
                    f"{typed} is inside {other_typed}: its documents would be there twice",
                    fix=f"give {other_typed} alone",
                )


NAMES: Final = "sources.json"
"""File in the data folder: the names of the folders."""


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
        open=partial(show, data=options.data) if args.open else None,
    )
    view.start()
    wanted = UpOptions(
        **common(args),
        folders=tuple(folders),
        include=tuple(args.include),
        exclude=tuple(args.exclude),
        gitignore=False if args.no_gitignore else None,
        once=args.once,
        strict=args.strict,
        port=args.port,
        progress=progress,
        view=view,
    )
    _require_sources(wanted)
    if not folders:
        view.names = tuple(wanted.settings().watched)
    _remember(options, folders)
    try:
        status: int = asyncio.run(importlib.import_module("services.host.up").up(wanted))
    finally:
        view.stop()
    return _end(view, status, args, options)


def _stopped(*_: object) -> None:
    """End at a signal before the event loop handles it: no work has begun yet."""
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
    """Create missing streams and buckets on the bus, and print their names."""
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
    if args.open and args.once:
        raise Stop("--open does not go with --once", fix="instep up --open; it watches, and stays")
    if args.port is not None and not 0 <= args.port <= 65_535:
        raise Stop("--port is 0 to 65535")
    if not args.paths and (args.source or args.include or args.exclude or args.no_gitignore):
        raise Stop("--source, --include, --exclude and --no-gitignore go with a PATH")


def _folders(args: Namespace, options: Options) -> list[SourceArgument]:
    paths = {_place(typed): typed for typed in args.paths}
    typed = [(text, path) for path, text in paths.items()]
    if args.source:
        check_name(args.source)
    noted = _known(options).items()
    known = {name: place for name, place in noted if is_address(place) or Path(place).is_dir()}
    return name_folders(typed, given=args.source, known=known) if typed else []


def _place(typed: str) -> str:
    if web_address.is_web(typed):
        return _page(typed)
    if sql_address.is_database(typed):
        raise _needs_columns(typed)
    if is_address(typed):
        return _bucket(typed)
    path = Path(typed)
    if path.is_file():
        raise Stop(f"{typed} is a file", fix="give its folder, or: instep publish FILE --source S")
    if not path.is_dir():
        parent = path.absolute().parent
        beside = [p.name for p in parent.iterdir() if p.is_dir()] if parent.is_dir() else []
        near = nearest(path.name, beside)
        meant = f"; did you mean {path.parent / near}?" if near else ""
        raise Stop(f"{typed}: no such folder{meant}")
    return str(path.resolve())


def _needs_columns(typed: str) -> Stop:
    """The address of a database alone does not tell which columns hold the text."""
    try:
        url = sql_address.without_secrets(typed)
    except ValueError as error:
        return Stop(f"the address of the database {error}")
    name = slug(PurePath(url.partition("://")[2]).stem)
    lines = [
        f"[sources.{name}]",
        'kind = "sql"',
        f"url = {json.dumps(url)}",
        'table = "TABLE"',
        'key = "ID"',
        'title = "NAME"',
        'body = "TEXT"',
    ]
    return Stop(
        "a table is not given to `up`: it needs the names of its columns",
        fix="write the lines below into instep.toml, with your names for those in capital letters, "
        "and start instep up without a PATH; a password goes into "
        f"INSTEP_SOURCES__{name.replace('-', '_').upper()}__PASSWORD",
        example="\n".join(lines),
    )


def _page(typed: str) -> str:
    try:
        return web_address.normal(typed)
    except ValueError as error:
        raise Stop(str(error)) from None


def _bucket(typed: str) -> str:
    try:
        bucket_address.parse(typed)
    except ValueError as error:
        raise Stop(str(error)) from None
    return typed.rstrip("/")


def _require_sources(options: UpOptions) -> None:
    """Fail early, with every fault of the settings."""
    if not options.settings().sources:
        raise Stop("nothing to watch", fix="instep up PATH, or instep settings --init")


def _known(options: Options) -> Mapping[str, str]:
    try:
        names = json.loads((options.data / NAMES).read_text(encoding="utf-8"))
        return {str(name): str(path) for name, path in names.items()}
    except (OSError, *GARBAGE):
        return {}


def _remember(options: Options, folders: Sequence[SourceArgument]) -> None:
    known = _known(options)
    names = remembered(known, folders)
    if names != known:
        DataFolder(options.data).create()
        write_private(options.data / NAMES, json.dumps(names, indent=2))
