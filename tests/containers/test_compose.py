"""compose.yaml as a person uses it: real containers, killed in the middle of the work."""

import json
import os
import uuid
from dataclasses import replace

import obstore
import pytest
from compose import Compose, missing
from obstore.store import S3Store
from ports import free_ports

DOCUMENTS = 500


@pytest.fixture(scope="module")
def compose(tmp_path_factory):
    """Everything, up and ready, over a folder with one document and an empty bucket."""
    if why := missing():
        if os.environ.get("CI") == "true":
            pytest.fail(f"no containers in CI: {why}")
        pytest.skip(f"no containers: {why}")
    docs, drop = tmp_path_factory.mktemp("docs"), tmp_path_factory.mktemp("drop")
    for folder in (docs, drop):
        folder.chmod(0o755)
    write(docs, "first.md", "lantern")
    made = Compose(f"instep-test-{uuid.uuid4().hex[:8]}", docs, drop, *free_ports(2))
    try:
        made("build", timeout=3000)
        up(made)
        yield made
    finally:
        made("--profile", "*", "down", "--volumes", "--timeout", "5", check=False)


def write(folder, name, word):
    (folder / name).write_text(f"# Note\n\nThe word of this one is {word}.\n")
    (folder / name).chmod(0o644)


def up(compose, embedders=1):
    compose("up", "--detach", "--wait", "--no-build", "--scale", f"embedder={embedders}")


def in_step(compose, documents):
    status = compose.json("status")
    return status and status["in_step"] and status["documents"].get("searchable") == documents


@pytest.mark.slow
@pytest.mark.containers
@pytest.mark.timeout(1500)
def test_nothing_is_lost_when_containers_are_killed_in_the_middle(compose):
    compose.until(lambda: compose.found("lantern") == ["first.md"])
    write(compose.docs, "dropped.md", "harbour")
    compose.until(lambda: compose.found("harbour") == ["dropped.md"])

    up(compose, embedders=3)
    names = [f"n{n:03}.md" for n in range(DOCUMENTS)]
    for name in names:
        write(compose.docs, name, f"zebra {name[:4]}")
    compose.until(lambda: compose.found("zebra"))
    victim = compose.containers("embedder")[0]
    compose.docker("kill", victim)
    for service in ("indexer", "weaviate"):
        compose("kill", "--signal", "KILL", service)
    up(compose, embedders=2)
    compose.until(lambda: in_step(compose, DOCUMENTS + 2))
    validated = compose.json("validate")
    texts = compose.encoded()

    (compose.docs / "dropped.md").unlink()
    compose.until(lambda: compose.found("harbour") == [])

    compose("down", "--timeout", "20")
    up(compose, embedders=2)
    compose.until(lambda: in_step(compose, DOCUMENTS + 1))

    assert validated["passed"], validated
    assert validated["rows"] == DOCUMENTS + 2
    assert texts > 0
    assert compose.encoded() == 0
    assert len(compose.found("zebra")) == 200
    assert compose.found("lantern") == ["first.md"]
    assert compose.json("failures")["total"] == 0


@pytest.mark.slow
@pytest.mark.containers
@pytest.mark.timeout(1500)
def test_a_file_that_is_dropped_is_an_object_and_both_are_found_edited_and_gone(compose):
    compose = replace(compose, profiles="single,cpu,s3")
    up(compose)
    write(compose.drop, "dropped.md", "anchor")
    compose.until(lambda: compose.found("anchor") == ["dropped.md"])
    key = compose("exec", "-T", "gateway", "cat", "/keys/bucket-drop.key").strip()
    bucket = S3Store(
        "drop",
        endpoint=f"http://127.0.0.1:{compose.s3_port}",
        region="us-east-1",
        access_key_id="instep",
        secret_access_key=key,
        client_options={"allow_http": True},
    )

    obstore.put(bucket, "put.md", b"compass\n")
    compose.until(lambda: compose.found("compass") == ["put.md"])
    assert (compose.drop / "put.md").read_text() == "compass\n"
    obstore.put(bucket, "put.md", b"rudder\n")
    compose.until(lambda: compose.found("rudder") == ["put.md"])
    obstore.copy(bucket, "put.md", "deep/moved.md")
    obstore.delete(bucket, "put.md")
    compose.until(lambda: compose.found("rudder") == ["deep/moved.md"])
    write(compose.drop, "dropped.md", "keel")
    compose.until(lambda: compose.found("keel") == ["dropped.md"])
    assert compose.found("anchor") == []
    obstore.delete(bucket, "deep/moved.md")
    (compose.drop / "dropped.md").unlink()
    compose.until(lambda: not compose.found("rudder") and not compose.found("keel"))

    address = "http://127.0.0.1:8222/connz?acc=bucket-drop"
    (told,) = json.loads(compose("exec", "-T", "nats", "wget", "-q", "-O-", address))["connections"]
    logs = compose("logs", "--no-color")
    assert told["in_msgs"] >= 5, "the server publishes its events"
    assert key not in logs


@pytest.mark.slow
@pytest.mark.containers
@pytest.mark.timeout(1500)
def test_containers_have_no_rights_that_they_do_not_need(compose):
    inspected = compose.inspect()
    ours = {name: one for name, one in inspected.items() if one["Config"]["User"]}

    assert {"producer", "enricher", "embedder", "indexer", "validator", "gateway"} <= ours.keys()
    for one in ours.values():
        assert one["Config"]["User"] == "10001:10001"
        assert one["HostConfig"]["ReadonlyRootfs"]
        assert one["HostConfig"]["CapDrop"] == ["ALL"]
        assert not [line for line in one["Config"]["Env"] if "SEED" in line or "SECRET" in line]
