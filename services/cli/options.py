"""What every command knows: where the data is, how to talk, which settings are in force."""

import os
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from services.cli.exits import Stop

if TYPE_CHECKING:  # pydantic costs every command its start
    from services.cli.live import LiveView
    from shared.progress import Progress
    from shared.settings import LoadedSettings, Settings

DATA: Final = ".instep"
CONFIG: Final = "instep.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options that every command takes, before or after its name."""

    data: Path
    """The data folder; it may not exist yet."""
    config: Path | None = None
    """The settings file, if there is one."""
    url: str | None = None
    """A gateway to ask, whatever the data folder says."""
    key_file: Path | None = None
    """Holds the key that such a gateway asks for."""
    json: bool = False
    quiet: bool = False
    debug: bool = False
    color: bool = False
    """Whether both output streams may show colour, as far as the person wishes."""

    def load(self) -> "LoadedSettings":
        """Read the settings. Raises ConfigurationError, one fault a line."""
        from shared.settings import load

        return load(config=self.config, options=self.overrides())

    def settings(self) -> "Settings":
        """The settings in force."""
        return self.load().settings

    def key(self) -> str | None:
        """The key to show to a gateway. Raises Stop when its file cannot be read."""
        if self.key_file is None:
            return None
        try:
            return self.key_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise Stop(f"{self.key_file}: no such key file, or not readable") from None

    def overrides(self) -> Mapping[str, Any]:
        """Settings given as options: dotted name to value."""
        return {}


@dataclass(frozen=True, slots=True)
class FolderArgument:
    """A folder to watch, under the name of its source."""

    name: str
    path: Path
    """Absolute."""
    typed: str
    """As the person wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions(Options):
    """Options of `up`."""

    folders: tuple[FolderArgument, ...] = ()
    """Empty: the sources of the settings."""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    once: bool = False
    """End when everything found at the start is searchable, refused or failed."""
    strict: bool = False
    """With `once`: a refused document is status 1. The command line sees to it."""
    port: int | None = None
    progress: "Progress"
    """The counters that the view shows; hand it to the services."""
    view: "LiveView"
    """Where people watch; `start` has been called already."""

    def overrides(self) -> Mapping[str, Any]:
        """The port, and the folders as sources."""
        given: dict[str, Any] = {"gateway.port": self.port}
        for folder in self.folders:
            given[f"sources.{folder.name}.kind"] = "folder"
            given[f"sources.{folder.name}.path"] = str(folder.path)
            given[f"sources.{folder.name}.include"] = self.include or None
            given[f"sources.{folder.name}.exclude"] = self.exclude or None
        return given

    def load(self) -> "LoadedSettings":
        """Read the settings; folders given on the command line are then the only ones."""
        from shared.settings import LoadedSettings, load

        loaded = load(config=self.config, options=self.overrides())
        if not self.folders:
            return loaded
        names = {folder.name for folder in self.folders}
        kept = {
            name: source
            for name, source in loaded.settings.sources.items()
            if name in names or source.kind != "folder"
        }
        return LoadedSettings(loaded.settings.model_copy(update={"sources": kept}), loaded.origins)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the command line takes from its environment; the settings read their own."""

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
