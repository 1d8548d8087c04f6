"""The system's Chromium, and an instance whose pages it opens."""

import hashlib
import json
import os
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from instep_process import Instep, wait_until
from ports import free_port

AXE = Path(__file__).parents[1] / "browser/axe/axe-4.14.1.min.js"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
HOSTILE = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
"""A text that would run if it were shown as HTML."""


def executable() -> str:
    """The browser; without one the test is skipped."""
    found = os.environ.get("INSTEP_TEST_BROWSER") or shutil.which("chromium") or ""
    if not found or not Path(found).exists():
        pytest.skip(
            "no browser: apt-get install --no-install-recommends chromium, "
            "or name one in INSTEP_TEST_BROWSER"
        )
    return found


@cache
def axe() -> str:
    """axe-core, as it was published."""
    text = AXE.read_bytes()
    assert hashlib.sha256(text).hexdigest() == AXE_SHA256
    return text.decode()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser for a module: another one costs a second."""
    path = executable()
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as tool:
        # as root there is no sandbox, and all that it opens is an instance of this machine
        browser = tool.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class PageWorld:
    """An instance with documents of every kind, and browsers that may look at it."""

    instep: Instep
    folders: tuple[Path, ...]
    browser: Any
    port: int
    state: dict[str, Any] = field(default_factory=dict)
    """Cookies of a browser that was let in."""
    faults: list[str] = field(default_factory=list)
    """What pages have written to the console as errors, and requests that went elsewhere."""

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.instep.up(*self.folders)

    def kill(self) -> None:
        self.instep.stop(by=9)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer of the interface to the owner."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, self.instep.shown)
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.loads(reply.read())

    def enter(self) -> None:
        """Let a browser in by a link that works once, and keep its cookies."""
        context = self.browser.new_context()
        page = context.new_page()
        page.goto(self.base + self.ask("/api/v1/browser-links", {})["path"])
        page.wait_for_url(f"{self.base}/")
        self.state = context.storage_state()
        context.close()

    @contextmanager
    def open(self, **options: Any) -> Iterator[Any]:
        """A browser that was let in, whose requests go nowhere else. Its faults are collected."""
        context = self.browser.new_context(base_url=self.base, storage_state=self.state, **options)
        context.set_default_timeout(30_000)
        context.route(lambda url: not url.startswith(self.base + "/"), self._refuse)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.faults.append(f"error {error.error}"))
        try:
            yield context
        finally:
            context.close()

    def _refuse(self, route: Any) -> None:
        self.faults.append(f"request to {route.request.url}")
        route.abort()

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type} on {message.page.url}: {message.text}")


@contextmanager
def page_world(folder: Path) -> Iterator[PageWorld]:
    """An instance that was let run until it had done all that it could do by itself."""
    docs, old = folder / "docs", folder / "old"
    _write_documents(docs, old)
    port = free_port()
    env = {"INSTEP_EMBEDDING__MODEL": "fake-384", "INSTEP_GATEWAY__PORT": str(port)}
    with chromium() as browser:
        instep = Instep(folder / "data", folder, env=env)
        world = PageWorld(instep, (docs, old), browser, port)
        try:
            world.start()
            _settle(world, old)
            world.enter()
            yield world
        finally:
            instep.stop()


def _write_documents(docs: Path, old: Path) -> None:
    (docs / "guide").mkdir(parents=True)
    old.mkdir()
    for n in range(12):
        text = (
            f"# Note {n}\n\nA lantern stands on shelf {n}.\n\n## Keys\n\nRotate key {n} in May.\n"
        )
        (docs / "guide" / f"n{n}.md").write_text(text)
    (docs / "hostile.txt").write_text(f"{HOSTILE}\n\nThe hostile lamp {HOSTILE}\n")
    (docs / "a <b> & 'c'.md").write_text("# Odd names\n\nThe oddly named zebra.\n")
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is none\n")
    (docs / "left.xyz").write_text("an ending that nobody knows\n")
    for n in range(24):
        (old / f"o{n}.md").write_text(f"# Old {n}\n\nledger of the year {1900 + n}\n")


def _settle(world: PageWorld, old: Path) -> None:
    def status() -> Any:
        return world.ask("/api/v1/status")

    wait_until(lambda: status()["documents"]["searchable"] == 38)
    wait_until(lambda: status()["documents"]["refused"] == 1)
    for n in range(22):
        (old / f"o{n}.md").unlink()
    wait_until(lambda: status()["documents"]["held"] == 22)
