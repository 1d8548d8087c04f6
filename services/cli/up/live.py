"""The live view of `up`: a first line at once, progress, then one line per change.

On a terminal the progress is redrawn in place; elsewhere plain lines appear now and then. All of it
goes to standard error; with `--json`, the summary and the news go to standard output as JSON.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TextIO

from services.cli.terminal import CODES, Terminal
from services.cli.up.frame import (
    KINDS,
    URGENT,
    Estimate,
    Throttle,
    first_line,
    frame,
    in_step_line,
    news,
    ready_line,
)
from services.host.data_folder import LOG
from shared.observe.progress import Activity, Progress

if TYPE_CHECKING:  # rich comes after the first line is out
    from rich.live import Live

REDRAW_S: Final = 0.1
WARN_AGAIN_S: Final = 60.0
TOLD_OTHERWISE: Final = frozenset({"delivery_buried", "file_not_accepted", "no_file_events"})
"""Events of the log that have a line of their own."""
PLAIN_EVERY_S: Final = 5.0
"""Between two progress lines where nothing can be redrawn."""


@dataclass
class LiveView:
    """The view of one `up`; the command line makes it, the runtime reports to it.

    `start` once, at the very beginning; `update` as a task from then on; `ready` when the gateway
    listens; `in_step` when everything that was found is searchable; `stop` at the end.
    """

    progress: Progress
    version: str
    data: str
    folders: Sequence[str] = ()
    """As typed."""
    names: Sequence[str] = ()
    """Of the sources."""
    json: bool = False
    once: bool = False
    quiet: bool = False
    color: bool = False
    open: Callable[[str], object] | None = None
    """Shows an address in a browser, as soon as the gateway answers; None: it is not asked for."""
    err: TextIO = field(default_factory=lambda: sys.stderr)
    out: TextIO = field(default_factory=lambda: sys.stdout)
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], datetime] = datetime.now
    summary: Mapping[str, Any] | None = None
    """The last one given to `in_step`."""
    _estimate: Estimate = field(default_factory=Estimate)
    _throttle: Throttle = field(default_factory=Throttle)
    _stopping: bool = False
    _live: "Live | None" = None
    _warned: dict[str, float] = field(default_factory=dict)
    _said: str = ""
    _said_at: float = -PLAIN_EVERY_S

    @property
    def terminal(self) -> Terminal:
        """The width changes when the window does."""
        return Terminal.of(self.err, color=self.color)

    def start(self) -> None:
        """The first line, before anything heavy is imported; then listen for news."""
        self.progress.listeners.append(self._hear)
        shown = first_line(self.version, self.data, self.folders, self.terminal.width)
        self._line(self.terminal.paint(shown, "bold"))

    def ready(self, *, url: str | None, model: str, device: str = "", link: str = "") -> None:
        """Show the address of the gateway, and the model; to a terminal the link, too.

        What is no terminal may be a log, and a link that lets somebody in belongs into none.
        """
        self._line(ready_line(url, model, device, self.terminal.width))
        if url and link and self.is_read:
            self._line(f"open {url}{link}")
        if url and self.open is not None:  # a browser in a terminal ends when a person ends it
            address = f"{url}{link or '/'}"
            threading.Thread(target=self.open, args=(address,), daemon=True).start()

    async def update(self) -> None:
        """Show the progress until cancelled."""
        try:
            while True:
                self.tick()
                await asyncio.sleep(REDRAW_S if self.err.isatty() else 2 * REDRAW_S)
        finally:
            self._end_animation()

    def tick(self) -> None:
        """Show the counters as they are now."""
        now = self.clock()
        self._estimate.add(now, self.progress.rows_written, self.progress.rows_known)
        missed = self._throttle.missed(now)
        if missed:
            self._line(f"          and {missed:,} more changes")
        if self.quiet or self._stopping or self.summary is not None:
            return
        label = self.names[0] if len(self.names) == 1 else f"{len(self.names)} sources"
        lines = frame(label, self.progress, self._estimate, self.terminal.width)
        if self.err.isatty():
            self._animate(lines)
        else:
            self._now_and_then("\n".join(lines), now)

    def in_step(self, summary: Mapping[str, Any]) -> None:
        """Say that everything found is searchable, refused or failed.

        Args:
            summary: `{"in_step": bool, "problem_count", "elapsed_s": float, "documents":
                {"found", "searchable", "inserted", "updated", "moved", "removed", "unchanged",
                "refused", "failed", "held"}, "chunks": {"searchable", "embedded", "cached"}}`;
                counts are whole numbers, and unknown ones may be left out.
        """
        again, self.summary = self.summary is not None, summary
        self._end_animation()
        if self.json and not self.once:
            self._json(dict(summary))
        if again:
            return
        style = "green" if summary["in_step"] else "yellow"
        self._line(self.terminal.paint(in_step_line(summary), style))
        if not self.once and self.folders:
            self._line(f"watching {', '.join(self.folders)}")

    @property
    def is_read(self) -> bool:
        """Whether the lines go to a terminal."""
        return self.err.isatty()

    def warn(self, event: str, reason: str) -> None:
        """Show a warning of the log as a sentence; the same one once a minute.

        Args:
            event: its name, e.g. `not_swept`.
            reason: a sentence; empty for a fault of instep.
        """
        now, known = self.clock(), reason or event
        if event in TOLD_OTHERWISE or now - self._warned.get(known, -WARN_AGAIN_S) < WARN_AGAIN_S:
            return
        self._warned[known] = now
        fault = f"a fault of instep ({event}): {self.data}/{LOG} says more"
        text = f"{event.replace('_', ' ')}: {reason}" if reason else fault
        self.progress.say(Activity("notice", "", text))

    def stopping(self) -> None:
        """Say that a stop was requested and running work is ending."""
        self._end_animation()
        self._stopping = True
        self._line("stopping; Ctrl-C again ends at once")

    def stop(self) -> None:
        """Leave the terminal as it was. May be called twice."""
        self._end_animation()
        if self._hear in self.progress.listeners:
            self.progress.listeners.remove(self._hear)

    def _hear(self, activity: Activity) -> None:
        if self.summary is None and activity.kind not in URGENT:
            return
        if self.json and not self.once:
            self._json({"at": datetime.now().astimezone().isoformat(), **asdict(activity)})
        if activity.kind not in URGENT and not self._throttle.passes(self.clock()):
            return
        text = news(activity, f"{self.wall():%H:%M:%S}", self.terminal.width)
        style = KINDS.get(activity.kind, "")
        self._line(self.terminal.paint(text, style) if style in CODES else text)

    def _json(self, body: Mapping[str, Any]) -> None:
        print(json.dumps(body, ensure_ascii=False), file=self.out, flush=True)

    def _line(self, text: str) -> None:
        """A line that stays, above what is redrawn."""
        if self.quiet:
            return
        if self._live is None:
            print(text, file=self.err, flush=True)
            return
        from rich.text import Text

        self._live.console.print(Text.from_ansi(text), soft_wrap=True)

    def _now_and_then(self, text: str, now: float) -> None:
        started = self.progress.found or self.progress.listed
        if started and text != self._said and now - self._said_at >= PLAIN_EVERY_S:
            self._said, self._said_at = text, now
            self._line(text)

    def _animate(self, lines: Sequence[str]) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        if self._live is None:
            console = Console(
                file=self.err, no_color=not self.color, highlight=False, markup=False, emoji=False
            )
            self._live = Live(console=console, auto_refresh=False, transient=True)
            self._live.start()
            console.show_cursor(True)  # a kill in between must not leave it hidden
        self._live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)

    def _end_animation(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
