"""A running instance, asked with whatever its OpenAPI document allows and forbids."""

import http.client
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from services.gateway.operations import EVENT_STREAM, OPERATIONS
from services.host.data_folder import DataFolder

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)
"""Without `positive_data_acceptance`: no schema describes the language of a filter."""
HOOKS = """
import json
import schemathesis

@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()
"""
"""schemathesis knows no lines of JSON."""

ENDLESS = [row.place.address for row in OPERATIONS.values() if EVENT_STREAM in row.produces]
"""Answers that go on until the client leaves; they have tests of their own."""


@pytest.fixture
def url(instep, tmp_path):
    """The gateway of an instance that has documents and a failure; it asks for no key."""
    instep.env["INSTEP_GATEWAY__AUTH"] = "none"
    notes = tmp_path / "notes"
    notes.mkdir()
    for n in range(3):
        (notes / f"{n}.md").write_text(f"# Note {n}\n\nThe lantern of number {n}.\n")
    (notes / "bad.pdf").write_bytes(b"no PDF")
    instep.up(notes)
    return DataFolder(instep.data).read_instance().gateway_url


def test_no_request_makes_the_gateway_fail_and_every_answer_fits_its_schema(url, tmp_path):
    command = [
        *(str(Path(sys.executable).parent / "schemathesis"), "run", f"{url}/api/v1/openapi.json"),
        *("--generation-deterministic", "--max-examples", "1", "--phases", "coverage"),
        *("--checks", ",".join(CHECKS), "--no-shrink", "--continue-on-failure"),
        *(flag for path in ENDLESS for flag in ("--exclude-path", path)),
        *("--warnings", "off", "--no-color", "--request-timeout", "90"),
        *("--report", "ndjson", "--report-ndjson-path", str(tmp_path / "said.ndjson")),
    ]
    (tmp_path / "lines_of_json.py").write_text(HOOKS)
    env = {**os.environ, "SCHEMATHESIS_HOOKS": "lines_of_json", "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False
    )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert asked(url) == 200  # it goes on answering


def asked(url):
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    connection.request("GET", "/api/v1/status")
    answer = connection.getresponse()
    json.loads(answer.read())
    connection.close()
    return answer.status
