"""The options that every command takes, from its arguments and its environment."""

import os
from argparse import Namespace
from pathlib import Path
from typing import Any, Final

from services.cli.exits import Stop
from services.host.options import DATA, Surroundings

CONFIG: Final = "instep.toml"


def common(args: Namespace, around: Surroundings | None = None) -> dict[str, Any]:
    """The fields of `Options`. Raises Stop when the named settings file is missing."""
    around = around or Surroundings.of(os.environ)
    named = args.config or around.config
    config = Path(named) if named else Path(CONFIG)
    if named and not config.is_file():
        raise Stop(f"{named}: no such settings file")
    return {
        "data": Path(args.data or around.data or DATA),
        "config": config if config.is_file() else None,
        "url": args.url,
        "key_file": Path(args.key_file) if args.key_file else None,
        "json": args.json,
        "quiet": args.quiet,
        "debug": args.debug,
        "color": around.color and not args.no_color,
    }
