"""A real S3 server for tests: versitygw over a folder of this machine."""

import contextlib
import hashlib
import hmac
import http.client
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest
from ports import free_ports
from weaviate_server import absent

EXECUTABLE: Final = "INSTEP_TEST_S3_SERVER"
START_S: Final = 60.0
ABSENT: Final = (
    f"no S3 server: set {EXECUTABLE} to a versitygw (go install github.com/versity/versitygw)"
)
ACCESS: Final = "tests"
SECRET: Final = "secret-of-tests"
REGION: Final = "us-east-1"
VERSIONED: Final = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


@dataclass
class S3Server:
    """May be killed and started again on its port. Buckets are folders below `data`."""

    executable: str
    folder: Path
    nats: str | None = None
    """Address of a NATS server that gets the events, on the subject `topic`."""
    topic: str = "hints.docs"
    port: int = field(default_factory=lambda: free_ports(1)[0])
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client finds its credentials in."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
        }

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def versions(self) -> Path:
        """Older versions of objects, of buckets that keep them."""
        return self.folder / "versions"

    def start(self) -> None:
        for folder in (self.data, self.versions):
            folder.mkdir(parents=True, exist_ok=True)
        events = ["--event-nats-url", self.nats, "--event-nats-topic", self.topic]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self.executable, "--access", ACCESS, "--secret", SECRET),
                    *("--port", f"127.0.0.1:{self.port}", *(events if self.nats else ())),
                    *("posix", "--versioning-dir", str(self.versions), str(self.data)),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(0.02)
        self.stop()
        pytest.fail(f"the S3 server did not start:\n{(self.folder / 'log').read_text()[-2000:]}")

    def stop(self, signum: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(signum)
            self._process.wait(60)
            self._process = None

    def bucket(self, name: str) -> Any:
        """A client of a bucket, which is made if there is none."""
        from obstore.store import S3Store

        (self.data / name).mkdir(exist_ok=True)
        return S3Store(
            name,
            endpoint=self.endpoint,
            region=REGION,
            access_key_id=ACCESS,
            secret_access_key=SECRET,
            client_options={"allow_http": True},
        )

    def put(self, bucket: str, key: str, data: bytes) -> None:
        import obstore

        obstore.put(self.bucket(bucket), key, data)

    def copy(self, bucket: str, old: str, new: str) -> None:
        import obstore

        obstore.copy(self.bucket(bucket), old, new)

    def delete(self, bucket: str, key: str) -> None:
        import obstore

        obstore.delete(self.bucket(bucket), key)

    def keep_versions(self, bucket: str) -> None:
        """Switch versioning on."""
        self.ask("PUT", f"/{bucket}", {"versioning": ""}, VERSIONED)

    def ask(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: bytes = b"",
        **headers: str,
    ) -> http.client.HTTPMessage:
        """A signed request that the client of object storage has no function for.

        Args:
            headers: with underscores for dashes.

        Returns:
            The headers of the answer.
        """
        where, asked = quote(path), urlencode(sorted((query or {}).items()), quote_via=quote)
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        told |= _signed(method, f"127.0.0.1:{self.port}", where, asked, body, told)
        url = f"{self.endpoint}{where}?{asked}"
        request = urllib.request.Request(url, body or None, told, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.headers  # type: ignore[no-any-return]

    def drop(self, name: str) -> None:
        """Delete a bucket with all that is in it."""
        shutil.rmtree(self.data / name)

    def _answers(self) -> bool:
        try:
            with contextlib.closing(
                http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
            ) as connection:
                connection.request("GET", "/")
                return connection.getresponse().status > 0
        except (OSError, http.client.HTTPException):
            return False


def _signed(
    method: str, host: str, path: str, query: str, body: bytes, headers: dict[str, str]
) -> dict[str, str]:
    """The headers of a request with signature version 4 of AWS."""
    at, digest = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), hashlib.sha256(body).hexdigest()
    given = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": at}
    lines = sorted(((name.lower(), value) for name, value in (given | headers).items()))
    names = ";".join(name for name, _ in lines)
    told = "".join(f"{name}:{value}\n" for name, value in lines)
    request = "\n".join((method, path, query, told, names, digest))
    scope = (at[:8], REGION, "s3", "aws4_request")
    key = f"AWS4{SECRET}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    what = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", at, "/".join(scope), what))
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return given | {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS}/{'/'.join(scope)},"
        f"SignedHeaders={names},Signature={signature}"
    }


def executable() -> str:
    """The server's; skips here and fails in CI without."""
    return os.environ.get(EXECUTABLE) or shutil.which("versitygw") or absent(ABSENT)


@contextlib.contextmanager
def running(folder: Path, nats: str | None = None, topic: str = "hints.docs") -> Iterator[S3Server]:
    server = S3Server(executable(), folder, nats, topic)
    server.start()
    try:
        yield server
    finally:
        server.stop()
