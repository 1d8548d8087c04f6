"""Keys of a running gateway: the owner's without a word, other users, programs, browsers."""

import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
from instep_process import Instep, wait_until

from services.host.data_folder import DataFolder
from services.host.owner_key import OWNER_KEY

NOBODY = 65534
PROBE = """
import encodings.idna, json, os, sys, urllib.error, urllib.request
from pathlib import Path
url, data, user = sys.argv[1:]
os.setgroups([])
os.setgid(int(user))
os.setuid(int(user))  # after the imports: the interpreter may be one that only root can read
def get(address):
    try:
        with urllib.request.urlopen(url + address) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
def read(file):
    try:
        return file.read_text()
    except OSError as error:
        return type(error).__name__
places = ("/api/v1/status", "/api/v1/search?q=note", "/api/v1/documents", "/documents", "/")
places += ("/readyz", "/enter")
folder = Path(data)
print(json.dumps({
    "asked": {place: get(place) for place in places},
    "read": [read(folder / name) for name in ("gateway.key", "instance.json", "sources.json")],
    "commands": [c.read_bytes().decode(errors="replace") for c in Path("/proc").glob("*/cmdline")],
}))
"""


@pytest.fixture(scope="module")
def running() -> Iterator[Instep]:
    """An instance in a place that every user of the machine may enter."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="instep-keys-") as place:
        folder = Path(place)
        folder.chmod(0o755)
        for source, word in (("docs", "lantern"), ("wiki", "zanzibar")):
            (folder / source).mkdir()
            (folder / source / f"{word}.md").write_text(f"# A note\n\nThe {word} is lit.\n")
        instep = Instep(folder / "data", folder)
        instep.up("docs", "wiki", "--port", 0)
        try:
            wait_until(lambda: instep.found("lantern") and instep.found("zanzibar"))
            yield instep
        finally:
            instep.stop()


def url_of(instep: Instep) -> str:
    instance = DataFolder(instep.data).read_instance()
    assert instance
    assert instance.gateway_url
    return instance.gateway_url


def get(instep: Instep, address: str, key: str = "") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    asked = urllib.request.Request(f"{url_of(instep)}/api/v1/{address}", headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_of_the_machine_sees_nothing(running: Instep) -> None:
    key = (running.data / OWNER_KEY).read_text().strip()
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROBE, url_of(running), str(running.data), str(NOBODY)],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    seen = json.loads(done.stdout)

    statuses = {place: status for place, (status, _) in seen["asked"].items()}
    assert [statuses.pop(open_to_all) for open_to_all in ("/readyz", "/enter")] == [200, 200]
    assert set(statuses.values()) == {401}
    assert seen["read"] == ["PermissionError"] * 3
    assert key not in done.stdout
    answers = json.dumps(seen["asked"])
    assert not [word for word in ("lantern", "zanzibar", "rows", "docs") if word in answers]
    assert (running.data / OWNER_KEY).stat().st_mode & 0o777 == 0o600
    assert running.data.stat().st_mode & 0o777 == 0o700
    assert key not in running.logs()


def test_a_key_for_a_program_opens_its_source_survives_a_restart_and_ends(running: Instep) -> None:
    made = running("keys", "create", "--scope", "search,read", "--source", "docs", "--name", "bot")
    key = made.stdout.strip()
    id = key.split("_")[1]

    assert made.returncode == 0
    assert key.startswith("ik_")
    assert key not in made.stderr
    assert id in made.stderr
    assert [hit["document"]["path"] for hit in get(running, "search?q=note", key)[1]["hits"]] == [
        "lantern.md"
    ]
    assert get(running, "documents/wiki/zanzibar.md", key)[0] == 404
    assert get(running, "keys", key)[0] == 403
    assert get(running, "status")[0] == 401

    running.stop()
    running.up("docs", "wiki", "--port", 0)
    assert get(running, "status", key)[0] == 200

    listed = running("keys", "list")
    assert id in listed.stdout
    assert key not in listed.stdout
    assert running("keys", "revoke", id).returncode == 0
    wait_until(lambda: get(running, "status", key)[0] == 401)
    assert "revoked" in running("keys", "list").stdout
    assert key not in running.logs()


def test_a_link_lets_a_browser_in_once(running: Instep) -> None:
    link = running("open", "--print").stdout.strip()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    with browser.open(link, timeout=60) as answer:
        assert "url=/" in answer.read().decode()
    with browser.open(url_of(running), timeout=60) as answer:
        assert "<h1>" in answer.read().decode()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(link, timeout=60)
    assert link.partition("=")[2] not in running.logs()
