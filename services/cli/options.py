"""The options that every command takes, from its arguments and its environment."""

import os
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.cli.exits import Stop

DATA: Final = ".instep"
CONFIG: Final = "instep.toml"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The variables that the command line reads; the settings read their own."""

    data: str | None = None
    config: str | None = None
    url: str | None = None
    key_file: str | None = None
    color: bool = True

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Surroundings":
        plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
        return cls(
            data=environ.get("INSTEP_DATA") or None,
            config=environ.get("INSTEP_CONFIG") or None,
            url=environ.get("INSTEP_URL") or None,
            key_file=environ.get("INSTEP_KEY_FILE") or None,
            color=not plain,
        )


def common(args: Namespace, around: Surroundings | None = None) -> dict[str, Any]:
    """The fields of `Options`. Raises Stop when the named settings file is missing."""
    around = around or Surroundings.of(os.environ)
    named = args.config or around.config
    key_file = args.key_file or around.key_file
    config = Path(named) if named else Path(CONFIG)
    if named and not config.is_file():
        raise Stop(f"{named}: no such settings file")
    return {
        "data": Path(args.data or around.data or DATA),
        "config": config if config.is_file() else None,
        "url": args.url,
        "key_file": Path(key_file) if key_file else None,
        "json": args.json,
        "quiet": args.quiet,
        "debug": args.debug,
        "color": around.color and not args.no_color,
    }
