"""A running instance for the retrievers of all frameworks."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests" / "support"))

from instep_process import FAKE, Instep, wait_until  # noqa: E402 - it lies there

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
NOTES = {
    "docs/keys.md": "# Keys\n\n## Rotation\n\nA key is rotated by making the new one first.\n",
    "docs/lamp.md": "# The lamp\n\nThe key of the harbour lamp hangs beside the door.\n",
    "docs/old/keys.md": "# Old keys\n\nA key of the harbour was rotated by hand.\n",
    "wiki/gull.md": "# The gull\n\nA gull took the key of the harbour.\n",
}


class Installed(Instep):
    """The instance has bus, store and model in the virtual environment of the repository."""

    def command(self, *args: object) -> list[str]:
        python = str(ROOT / ".venv" / "bin" / "python")
        return [python, *super().command(*args)[1:]]


@pytest.fixture(scope="session")
def instep(tmp_path_factory) -> Iterator[Installed]:
    """An instance over four notes; its data folder is `INSTEP_DATA` for clients and examples."""
    place = tmp_path_factory.mktemp("retrieval")
    for name, text in NOTES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    made = Installed(place / "data", place, env=FAKE | {"PYTHONPATH": str(ROOT)})
    made.up("docs", "wiki", "--port", 0)
    os.environ["INSTEP_DATA"] = str(made.data)
    try:
        wait_until(lambda: len(made.found("key")) == len(NOTES))
        yield made
    finally:
        made.stop()
        del os.environ["INSTEP_DATA"]


@pytest.fixture
def example(instep):
    """Runs `example.py` of a package from its own folder, and returns what it prints."""
    import subprocess

    def run(folder: Path) -> str:
        done = subprocess.run(
            [sys.executable, "example.py", "how is a key rotated"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
