"""The options that a command gives to the host: the data folder, and the settings.

Settings are imported when they are read, for pydantic costs every command its start.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from shared.observe.progress import Progress
    from shared.settings import LoadedSettings, Settings


DATA: Final = ".instep"
"""The data folder where none is named."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The variables that commands and clients read; the settings read their own."""

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


def key_in(file: Path) -> str:
    """The key to show to a gateway. Raises ConfigurationError when its file cannot be read."""
    from shared.domain.errors import ConfigurationError

    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{file}: no such key file, or not readable") from None


class View(Protocol):
    """The view of a run of `up`."""

    @property
    def is_read(self) -> bool:
        """Whether it fills a terminal, where no line of a log may come between."""
        ...

    def ready(self, *, url: str | None, model: str, device: str = "", link: str = "") -> None:
        """The gateway answers at `url`; `link` is the path that lets a browser in, once."""
        ...

    async def update(self) -> None:
        """Show the progress until it is cancelled."""
        ...

    def in_step(self, summary: Mapping[str, Any]) -> None:
        """Everything that was found at the start has an outcome."""
        ...

    def warn(self, event: str, reason: str) -> None:
        """A warning of the log, in short."""
        ...

    def stopping(self) -> None:
        """A person has stopped the run."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options that every command takes, before or after its name."""

    data: Path
    """The data folder; it may not exist yet."""
    config: Path | None = None
    """The settings file, if there is one."""
    url: str | None = None
    """A gateway to ask, in place of the data folder's."""
    key_file: Path | None = None
    """Holds the key to show, whatever the gateway; INSTEP_KEY_FILE is not meant here."""
    json: bool = False
    quiet: bool = False
    debug: bool = False
    color: bool = False
    """Whether the person allows colour on both output streams."""

    def load(self) -> "LoadedSettings":
        """Read the settings. Raises ConfigurationError, one fault a line."""
        from shared.settings import load

        return load(config=self.config, options=self.overrides())

    def settings(self) -> "Settings":
        """The settings in force."""
        return self.load().settings

    def key(self) -> str | None:
        """The key to show to a gateway. Raises ConfigurationError when its file cannot be read."""
        return key_in(self.key_file) if self.key_file else None

    def overrides(self) -> Mapping[str, Any]:
        """Settings given as options: dotted name to value."""
        return {}


def is_address(place: str) -> bool:
    """Whether it is the address of a bucket or of a sitemap, and no path of a folder."""
    return "://" in place


def kind_of(place: str) -> str:
    """The kind of the source at a place that a person named."""
    if place.startswith(("http://", "https://")):
        return "web"
    return "bucket" if is_address(place) else "folder"


@dataclass(frozen=True, slots=True)
class SourceArgument:
    """A folder, bucket or sitemap to watch, under the name of its source."""

    name: str
    place: str
    """The absolute path of a folder, or the address of a bucket or sitemap."""
    typed: str
    """As the person wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions(Options):
    """Options of `up`."""

    folders: tuple[SourceArgument, ...] = ()
    """Empty: the sources of the settings."""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    gitignore: bool | None = None
    """None: as the settings say."""
    once: bool = False
    """End when everything found at the start is searchable, refused or failed."""
    strict: bool = False
    """With `once`: the command line ends with status 1 if a document was refused."""
    port: int | None = None
    progress: "Progress"
    """The counters that the view shows; hand it to the services."""
    view: "View"
    """The view of the run; `start` has been called already."""

    def overrides(self) -> Mapping[str, Any]:
        """The port, and the folders as sources."""
        given: dict[str, Any] = {"gateway.port": self.port}
        for folder in self.folders:
            kind = kind_of(folder.place)
            given[f"sources.{folder.name}.kind"] = kind
            given[f"sources.{folder.name}.{'path' if kind == 'folder' else 'url'}"] = folder.place
            given[f"sources.{folder.name}.include"] = self.include or None
            given[f"sources.{folder.name}.exclude"] = self.exclude or None
            given[f"sources.{folder.name}.gitignore"] = self.gitignore
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
            if name in names or source.kind == "push"
        }
        return LoadedSettings(loaded.settings.model_copy(update={"sources": kept}), loaded.origins)
