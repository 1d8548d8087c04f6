"""The system's Chromium for benchmarks and pictures: INSTEP_TEST_BROWSER names another one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of playwright, which is closed at the end."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("INSTEP_TEST_BROWSER", "/usr/bin/chromium")
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
