"""Buckets of a real S3 server, and the command line as processes."""

import os
import shutil
from itertools import count

import obstore
import pytest
import s3_server
from instep_process import FAKE, wait_until

from services.host.data_folder import DataFolder

pytestmark = pytest.mark.s3

_names = count()
WHERE = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
BLANK = b" " * 6_000_000
"""Makes an object large enough to be sent in parts."""


@pytest.fixture
def bucket(s3, instep, monkeypatch):
    """The name of an empty bucket that `instep` may use."""
    for variable in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    name = f"e2e{next(_names)}"
    s3.bucket(name)
    instep.env = FAKE | s3.environment
    return name


def worded(instep, word):
    """Paths of the documents that have this word."""
    answer = instep.json("search", word, "-n", 50, "--mode", "keyword")
    return [hit["document"]["path"] for hit in answer["hits"]]


def told(done):
    """The last line; a notice in front of it may say the same."""
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("url", "environment", "words", "status"),
    [
        pytest.param("s3://none", {}, "there is no such bucket", 3, id="no such bucket"),
        pytest.param(
            "s3://{}",
            {"AWS_SECRET_ACCESS_KEY": "not-the-secret"},
            f"the secret key is wrong: check {WHERE}",
            3,
            id="wrong secret",
        ),
        pytest.param(
            "s3://{}",
            {"AWS_SECRET_ACCESS_KEY": None},
            f"no credentials were found: set {WHERE}",
            2,
            id="half of the credentials",
        ),
    ],
)
def test_a_run_of_once_over_a_bucket_that_cannot_be_listed_says_why_and_ends(
    instep, bucket, url, environment, words, status
):
    """All reasons: `tests/integration/producer/test_answers_of_buckets.py`."""
    given = instep.env | environment
    instep.env = {name: value for name, value in given.items() if value is not None}

    done = instep("up", url.format(bucket), "--once", timeout=120)

    assert (done.returncode, words in told(done)) == (status, True), done.stderr
    for secret in ("secret-of-tests", "not-the-secret", "RequestId", "Traceback"):
        assert secret not in done.stdout + done.stderr


def test_a_run_of_once_over_a_folder_of_the_settings_that_is_missing_ends_too(instep, tmp_path):
    (tmp_path / "instep.toml").write_text('[sources.docs]\npath = "./missing"\n')

    done = instep("up", "--once", timeout=120)

    assert (done.returncode, "missing" in told(done)) == (3, True), done.stderr


def test_a_run_of_once_that_fails_changes_nothing_and_the_next_one_goes_on(instep, bucket, s3):
    (s3.data / bucket / "a.md").write_text("a lantern\n")
    instep.json("up", f"s3://{bucket}", "--once")
    shutil.move(s3.data / bucket, s3.data / f"{bucket}-away")

    assert instep("up", f"s3://{bucket}", "--once", timeout=120).returncode == 3

    shutil.move(s3.data / f"{bucket}-away", s3.data / bucket)
    summary = instep.json("up", f"s3://{bucket}", "--once")
    assert (summary["documents"]["searchable"], summary["chunks"]["embedded"]) == (1, 0)


def test_without_once_a_bucket_that_is_missing_is_tried_until_it_is_there(instep, bucket, s3):
    url = f"s3://{bucket}x"
    instep.up(url)
    wait_until(lambda: instep.said("there is no such bucket; no document is removed"))
    assert "there is no such bucket" in instep.json("status", status=(0, 1))["sources"][0]["error"]

    (s3.data / f"{bucket}x").mkdir()
    (s3.data / f"{bucket}x" / "a.md").write_text("a lantern\n")

    wait_until(lambda: worded(instep, "lantern") == ["a.md"])


@pytest.mark.nats
def test_a_bucket_is_followed_as_a_folder_is(instep, bucket, s3):
    docs = s3.bucket(bucket)

    def put(key, text):
        obstore.put(docs, f"team/{key}", text.encode())

    put("a.md", "# Harbour\n\nlantern by the quay\n")
    put("p.png", "no text")
    obstore.put(docs, "others/z.md", b"lantern of others\n")
    url = f"s3://{bucket}/team"
    instep.up(url)
    wait_until(lambda: worded(instep, "lantern") == ["a.md"])

    put("a.md", "# Harbour\n\nanchor by the quay\n")
    wait_until(lambda: worded(instep, "anchor") == ["a.md"] and not worded(instep, "lantern"))
    obstore.copy(docs, "team/a.md", "team/deep/b.md")
    obstore.delete(docs, "team/a.md")
    wait_until(lambda: worded(instep, "anchor") == ["deep/b.md"])
    assert instep.said("team/a.md -> deep/b.md") or instep.said("a.md -> deep/b.md")
    put("deep/b.md", "")
    wait_until(lambda: instep.json("status")["documents"]["refused"] == 1)
    put("deep/b.md", "compass\n")
    wait_until(lambda: worded(instep, "compass") == ["deep/b.md"])

    (seen,) = instep.json("status")["sources"]
    assert (seen["kind"], seen["path"], seen["error"]) == ("bucket", url, "")
    assert url in instep("sources").stdout
    shown = instep("show", "team/deep/b.md")
    assert (shown.returncode, "compass" in shown.stdout) == (0, True), shown
    whole, picture = instep("show", "team/"), instep("show", "team/p.png")
    assert "left out: 1 .png" in whole.stdout, whole
    assert "p.png its ending .png is not read" in " ".join(whole.stdout.split()), whole
    assert "p.png is left out: its ending .png is not read" in picture.stderr, picture
    checks = {c["name"]: c for c in instep.json("doctor", status=(0, 1))["checks"]}
    assert checks["source team"]["level"] == "ok"
    assert f"{url}, 1 document" in checks["source team"]["text"]

    instep.stop()
    put("deep/b.md", "rudder\n")
    put("c.md", "keel\n")
    before = instep.json("up", url, "--once")["documents"]
    assert (before["inserted"], before["updated"]) == (1, 1)
    obstore.delete(docs, "team/deep/b.md")
    obstore.copy(docs, "team/c.md", "team/d.md")
    obstore.delete(docs, "team/c.md")
    after = instep.json("up", url, "--once")
    assert after["documents"]["searchable"] == 1
    assert after["chunks"]["embedded"] == 0


@pytest.fixture
def telling(instep, tmp_path, monkeypatch):
    """The server of the bucket `docs`, which `instep` watches and lists at its start only. The
    server publishes its events to the bus of `instep`."""
    for variable in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    server = s3_server.S3Server(s3_server.executable(), tmp_path / "s3")
    server.start()
    instep.env = FAKE | server.environment
    obstore.put(server.bucket("docs"), "team/before.md", b"lantern\n")
    (tmp_path / "instep.toml").write_text(
        '[sources.team]\nkind = "bucket"\nurl = "s3://docs/team"\n'
        'watch = "events"\nrescan = "1 h"\n'
    )
    instep.up()
    wait_until(lambda: worded(instep, "lantern") == ["before.md"])
    server.stop()
    server.nats = DataFolder(instep.data).read_instance().nats_url
    server.topic = "instep.sources.changed.team"
    server.start()
    yield server
    server.stop()


@pytest.mark.nats
def test_events_of_a_server_make_each_change_searchable_without_a_listing(instep, telling):
    docs = telling.bucket("docs")
    obstore.put(docs, "team/a ü+b.md", b"anchor\n")
    wait_until(lambda: worded(instep, "anchor") == ["a ü+b.md"])
    obstore.put(docs, "team/a ü+b.md", b"anchor compass\n")
    wait_until(lambda: worded(instep, "compass") == ["a ü+b.md"])
    obstore.copy(docs, "team/a ü+b.md", "team/deep/copy.md")
    wait_until(lambda: worded(instep, "compass") == ["a ü+b.md", "deep/copy.md"])
    obstore.copy(docs, "team/a ü+b.md", "team/moved.md")
    obstore.delete(docs, "team/a ü+b.md")
    wait_until(lambda: sorted(worded(instep, "compass")) == ["deep/copy.md", "moved.md"])
    obstore.put(docs, "team/big.md", b"rudder\n" + BLANK, use_multipart=True)
    wait_until(lambda: worded(instep, "rudder") == ["big.md"])
    for key in ("big.md", "moved.md", "deep/copy.md"):
        obstore.delete(docs, f"team/{key}")
    wait_until(lambda: not worded(instep, "compass") and not worded(instep, "rudder"))
    assert worded(instep, "lantern") == ["before.md"]


def test_a_bucket_that_is_emptied_is_held_until_a_person_decides(instep, bucket, s3):
    folder = s3.data / bucket
    for n in range(25):
        (folder / f"{n}.md").write_text(f"lantern {n}\n")
    instep.json("up", f"s3://{bucket}", "--once")
    for path in folder.iterdir():
        path.unlink()
    instep.up(f"s3://{bucket}")

    wait_until(lambda: instep.json("removals", status=(0, 1))["holds"])
    assert len(worded(instep, "lantern")) == 25
    assert instep("removals", "approve", bucket).returncode == 0
    wait_until(lambda: worded(instep, "lantern") == [])
