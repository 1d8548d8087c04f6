"""Makes the archive that `tests/upgrade` starts from: the data folder of a release.

Run once for each release, with the code and the requirements of that release:

    git worktree add ../release TAG
    cd ../release && make setup
    .venv/bin/python .../tests/support/upgrade_folder.py .../tests/upgrade/releases/TAG.tar.gz

With the path of a `weaviate-server` as a second argument the index is on that server, and the
archive also holds its folder `weaviate/`.

The archive holds `docs/` and `notes/`, two watched folders, and `data/`, the data folder of an
`instep up` that a kill -9 ended while a large document was being embedded, and `said.json`, what
`status`, `holds` and `show` answered before.
"""

import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from weaviate_server import WeaviateServer

PREFIX = "Upgrade"
PAGES = {
    "keys.md": "# Keys\n\n## Rotation\n\nRotate the signing key every ninety days.\n\n"
    "## Storage\n\nKeys live in the vault of the operations team.\n",
    "power.md": "---\ntitle: Power\nauthor: Ada\n---\n\n"
    "The generator starts after a power failure.\n",
    "travel.html": "<html><head><title>Travel</title></head><body><h1>Trains</h1>"
    "<p>Book the night train to Vienna early.</p></body></html>",
    "plain.txt": "A plain text about otters, who hold hands while they sleep.\n",
    "stale.md": "# Stale\n\nThe last good version mentions marmalade.\n",
    "old/moved.md": "# Moved\n\nThis page about lighthouses will be moved.\n",
    "deleted.md": "# Deleted\n\nNobody will find this page about zeppelins.\n",
    "日本.md": "# 日本語\n\n東京の桜は四月に咲く。\n",
}
LARGE = "\n".join(
    f"## Section {n}\n\nParagraph {n} of the large document tells of subject number {n * 7919}, "
    f"of its neighbours {n + 1} and {n + 2}, and of how they are counted.\n"
    for n in range(150)
)


def until(condition: Callable[[], Any], within_s: float = 120.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError("the release did not get there")
        time.sleep(0.05)
    return found


class Release:
    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        clean = {k: v for k, v in os.environ.items() if not k.startswith("INSTEP_")}
        self.environ = {**clean, **settings}
        self.up: subprocess.Popen[bytes] | None = None

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "services", *args, "--data", "data"]

    def ask(self, *args: str, stdin: str = "") -> Any:
        done = subprocess.run(
            [*self.command(*args), "--json"],
            cwd=self.folder,
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        return json.loads(done.stdout) if done.returncode == 0 else None

    def start(self) -> None:
        self.up = subprocess.Popen(
            self.command("up", "docs", "notes", "--port", "0"),
            cwd=self.folder,
            env=self.environ,
            start_new_session=True,
        )
        until(self.in_step)

    def in_step(self) -> bool:
        status = self.ask("status")
        return bool(status and status["in_step"])

    def end(self, by: signal.Signals) -> None:
        assert self.up is not None
        self.up.send_signal(by)
        self.up.wait()


def pushed(number: int, source: str) -> dict[str, Any]:
    """One of two documents of a batch; both sources give their batch the same id."""
    return {
        "path": f"{number}.md",
        "text": f"# Pushed {number}\n\nPushed text {number} about clockwork.",
        "batch": {
            "id": "monthly",
            "count": 2,
            "source": source,
            "format": "md",
            "started_at": "2026-11-21T02:00:00Z",
        },
    }


def on(server: WeaviateServer) -> dict[str, str]:
    """Settings of an instep whose index is on the server."""
    return {
        "INSTEP_STORE__KIND": "weaviate",
        "INSTEP_STORE__WEAVIATE__URL": server.reached.url,
        "INSTEP_STORE__WEAVIATE__GRPC": server.reached.grpc,
        "INSTEP_STORE__WEAVIATE__PREFIX": PREFIX,
    }


def make(folder: Path, settings: Mapping[str, str]) -> None:
    docs, notes = folder / "docs", folder / "notes"
    for name, text in PAGES.items():
        page = docs / name
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text)
    notes.mkdir()
    for n in range(30):
        (notes / f"note-{n:02}.md").write_text(f"# Note {n}\n\nNote number {n} about beekeeping.\n")
    release = Release(folder, settings)
    release.start()
    (docs / "keys.md").write_text(PAGES["keys.md"].replace("ninety", "thirty"))
    (docs / "stale.md").write_text("")
    (docs / "scan.md").write_bytes(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n")
    (docs / "deleted.md").unlink()
    (docs / "new").mkdir()
    (docs / "old/moved.md").rename(docs / "new/moved.md")
    for source, sent in (("inbox", 2), ("wiki", 1)):  # the batch of `wiki` stays open
        lines = [json.dumps(pushed(n, source)) + "\n" for n in range(sent)]
        published = release.ask(
            "publish", "-", "--jsonl", "--source", source, "--wait", "60", stdin="".join(lines)
        )
        assert published, "a submission was refused"
    for n in range(26):
        (notes / f"note-{n:02}.md").unlink()
    until(lambda: release.ask("holds"))
    until(lambda: (release.ask("show", "docs/new/moved.md") or {}).get("state") == "searchable")
    time.sleep(5)  # until batches are reported
    paths = [f"docs/{name}" for name in (*PAGES, "new/moved.md", "scan.md")]
    paths += ["notes/note-00.md", "notes/note-29.md", "inbox/0.md", "inbox/1.md", "wiki/0.md"]
    said = {path: release.ask("show", path) for path in paths if release.ask("show", path)}
    answers = {"show": said, "status": release.ask("status"), "holds": release.ask("holds")}
    (folder / "said.json").write_text(json.dumps(answers, indent=1, ensure_ascii=False))
    (docs / "large.md").write_text("# Large\n\n" + LARGE)
    until(lambda: (release.ask("show", "docs/large.md") or {}).get("state") == "working")
    assert release.up is not None
    os.killpg(release.up.pid, signal.SIGKILL)
    release.up.wait()
    print("killed while large.md was being embedded")


def main() -> None:
    target = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = ["docs", "notes", "data", "said.json"]
        if len(sys.argv) > 2:
            server = WeaviateServer(sys.argv[2], folder / "weaviate")
            server.start()
            try:
                make(folder, on(server))
            finally:
                server.stop()
            parts.append("weaviate")
        else:
            make(folder, {})
        time.sleep(1)  # the bundled server follows its parent
        with tarfile.open(target, "w:gz", compresslevel=9) as archive:
            for part in parts:
                archive.add(folder / part, part)
    print(target, target.stat().st_size)


if __name__ == "__main__":
    main()
