"""Google's object storage for tests: fake-gcs-server, in memory."""

import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest
from ports import free_ports
from weaviate_server import absent

EXECUTABLE: Final = "INSTEP_TEST_GCS_SERVER"
START_S: Final = 60.0
ABSENT: Final = (
    f"no GCS server: set {EXECUTABLE} to a fake-gcs-server"
    " (go install github.com/fsouza/fake-gcs-server)"
)


@dataclass(frozen=True)
class GcsServer:
    endpoint: str

    def bucket(self, name: str, *, versions: bool = False) -> None:
        """Make a new bucket.

        Args:
            versions: it keeps older versions of its objects.
        """
        asked = {"name": name, "versioning": {"enabled": versions}}
        self._ask("POST", "/storage/v1/b?project=tests", json.dumps(asked).encode())

    def drop(self, name: str) -> None:
        """Delete a bucket with all that is in it."""
        for item in json.loads(self._ask("GET", f"/storage/v1/b/{name}/o")).get("items", ()):
            self.delete(name, item["name"])
        self._ask("DELETE", f"/storage/v1/b/{name}")

    def put(self, bucket: str, key: str, data: bytes) -> None:
        where = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(key, safe='')}"
        self._ask("POST", where, data)

    def generation(self, bucket: str, key: str) -> str:
        """The version of an object that counts now."""
        where = f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}"
        return str(json.loads(self._ask("GET", where))["generation"])

    def copy(self, bucket: str, old: str, new: str, generation: str = "") -> None:
        """Copy an object, or an older version of it."""
        to = f"rewriteTo/b/{bucket}/o/{quote(new, safe='')}"
        to += f"?sourceGeneration={generation}" if generation else ""
        self._ask("POST", f"/storage/v1/b/{bucket}/o/{quote(old, safe='')}/{to}", b"{}")

    def delete(self, bucket: str, key: str) -> None:
        self._ask("DELETE", f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}")

    def answers(self) -> bool:
        try:
            self._ask("GET", "/storage/v1/b?project=tests")
        except OSError:
            return False
        return True

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"{self.endpoint}{path}", body, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())


@contextlib.contextmanager
def running(folder: Path) -> Iterator[GcsServer]:
    executable = os.environ.get(EXECUTABLE) or shutil.which("fake-gcs-server") or absent(ABSENT)
    port = free_ports(1)[0]
    server = GcsServer(f"http://127.0.0.1:{port}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(executable, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)),
                *("-backend", "memory", "-public-host", f"127.0.0.1:{port}"),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + START_S
        while not server.answers():
            if time.monotonic() > deadline or process.poll() is not None:
                pytest.fail(f"no GCS server:\n{(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)
        yield server
    finally:
        process.terminate()
        process.wait(60)
