"""Azure's blob storage for tests: Azurite, in memory. Only where its executable is named."""

import base64
import contextlib
import hmac
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from ports import free_ports

EXECUTABLE: Final = "INSTEP_TEST_AZURITE"
START_S: Final = 60.0
ABSENT: Final = (
    f"no Azurite: set {EXECUTABLE} to its azurite-blob"
    " (npm install --prefix FOLDER azurite; FOLDER/node_modules/.bin/azurite-blob)"
)
ACCOUNT: Final = "devstoreaccount1"
KEY: Final = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""Of every Azurite; it is in Microsoft's documentation."""
CONTAINER: Final = {"restype": "container"}


@dataclass(frozen=True)
class AzureServer:
    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def environment(self) -> dict[str, str]:
        return {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": KEY}

    def bucket(self, name: str) -> None:
        """Make a new container."""
        self._ask("PUT", f"/{name}", CONTAINER)

    def drop(self, name: str) -> None:
        """Delete a container with all that is in it."""
        self._ask("DELETE", f"/{name}", CONTAINER)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        import obstore

        obstore.put(self._client(bucket), key, data)

    def copy(self, bucket: str, old: str, new: str) -> None:
        import obstore

        obstore.copy(self._client(bucket), old, new)

    def delete(self, bucket: str, key: str) -> None:
        import obstore

        obstore.delete(self._client(bucket), key)

    def answers(self) -> bool:
        try:
            urllib.request.urlopen(self.endpoint, timeout=1)
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def _client(self, bucket: str) -> Any:
        from obstore.store import AzureStore

        return AzureStore(
            bucket,
            endpoint=self.endpoint,
            account_name=ACCOUNT,
            account_key=KEY,
            client_options={"allow_http": True},
        )

    def _ask(self, method: str, path: str, query: dict[str, str]) -> None:
        """A request of the shared key, which the client of object storage has no function for."""
        at = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
        headers = {"x-ms-date": at, "x-ms-version": "2021-08-06"}
        told = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
        asked = "".join(f"\n{name}:{value}" for name, value in sorted(query.items()))
        text = f"{method}{chr(10) * 12}{told}/{ACCOUNT}/{ACCOUNT}{path}{asked}"
        digest = hmac.digest(base64.b64decode(KEY), text.encode(), "sha256")
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
        url = f"{self.endpoint}{path}?{'&'.join(f'{k}={v}' for k, v in query.items())}"
        request = urllib.request.Request(url, None, headers, method=method)
        with urllib.request.urlopen(request, timeout=60):
            pass


@contextlib.contextmanager
def running(folder: Path) -> Iterator[AzureServer]:
    executable = os.environ.get(EXECUTABLE)
    if not executable:
        pytest.skip(ABSENT)
    server = AzureServer(free_ports(1)[0])
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(executable, "--blobHost", "127.0.0.1", "--blobPort", str(server.port)),
                *("--inMemoryPersistence", "--disableTelemetry", "--silent"),
            ],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + START_S
        while not server.answers():
            if time.monotonic() > deadline or process.poll() is not None:
                pytest.fail(f"no Azurite:\n{(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)
        yield server
    finally:
        process.terminate()
        process.wait(60)
