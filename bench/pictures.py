"""Pictures of the page for the README, of a run over the manual. `python -m bench.pictures`.

It watches a copy of `examples/docs` with the packaged model, edits some pages, adds a file that
cannot be read, and writes WebP files, each below MOST_BYTES.
"""

import base64
import itertools
import time
from pathlib import Path
from typing import Any, Final

from bench.browser import chromium
from bench.harness import MANUAL, Instep, wait_until, workplace

TO: Final = Path(__file__).parent.parent / "examples" / "pictures"
WIDTH: Final = 1180
HEIGHTS: Final = {"overview": 705, "search": 785}
"""Each ends where a part of the page does."""
SCALE: Final = 1.5
MOST_BYTES: Final = 150_000
EDITS: Final = ("guide/search.md", "operate/keys.md", "index.md", "guide/publishing.md") * 2
QUESTION: Final = "/search?q=how+do+I+rotate+a+key&limit=4"


def main() -> None:
    TO.mkdir(exist_ok=True)
    with workplace(MANUAL, 0) as (docs, data):
        instep = Instep(data)
        with instep.up(docs) as process, chromium() as browser:
            for n, name in enumerate(EDITS):
                page = docs / name
                page.write_text(f"{page.read_text()}\nNote {n} of this run.\n")
                time.sleep(1.5)  # a batch of its own
            (docs / "scan.pdf").write_bytes(b"%PDF-1.7\nnone\n")
            time.sleep(2)
            wait_until(lambda: instep.in_step(process), 60)
            tab = browser.new_page(device_scale_factor=SCALE, base_url=instep.gateway())
            tab.goto("/")
            write(tab, "overview")
            tab.goto(QUESTION)
            tab.goto(QUESTION)  # the model is warm, and the time of the answer is its usual one
            write(tab, "search")


def write(tab: Any, name: str) -> None:
    """A picture of what the tab shows."""
    tab.set_viewport_size({"width": WIDTH, "height": HEIGHTS[name]})
    devtools = tab.context.new_cdp_session(tab)
    for quality in itertools.count(90, -10):
        shot = devtools.send(
            "Page.captureScreenshot", {"format": "webp", "quality": max(10, quality)}
        )
        picture = base64.b64decode(shot["data"])
        if len(picture) < MOST_BYTES or quality <= 10:
            break
    (TO / f"{name}.webp").write_bytes(picture)
    print(f"{name}.webp: {len(picture):,} bytes, quality {quality}")


if __name__ == "__main__":
    main()
