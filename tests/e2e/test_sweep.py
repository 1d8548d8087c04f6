"""Somebody breaks the store, the ledger or the server's files; instep puts it right (P6)."""

import asyncio
import json
import shutil
import urllib.error
import urllib.request

import index_file
import nats
import pytest
from instep_process import wait_until

from instep import generate_embeddings
from shared.domain.errors import BusUnavailable, ConfigurationError

KINDS = ("missing", "extra", "damaged", "lost", "stuck", "unknown", "beyond_repair", "held")
BROKEN = {"missing": 1, "damaged": 1, "extra": 1}


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    for n in range(6):
        text = f"# Note {n} unique{n}\n\nThe harbour of n{n}.\n\n## More\n\nThe lantern of n{n}.\n"
        (folder / f"n{n}.md").write_text(text)
    return folder


def rows_of(instep, path):
    return [row for row in index_file.rows(instep.data) if row.path == path]


def break_rows(instep):
    """One row lost, one altered, one too many: as many rows as before."""
    lost, altered, other = (rows_of(instep, f"n{n}.md")[0] for n in (1, 2, 3))
    with index_file.opened(instep.data) as connection:
        connection.execute("DELETE FROM rows WHERE id = ?", (lost.id,))
        connection.execute("UPDATE rows SET text = 'not it' WHERE id = ?", (altered.id,))
        connection.execute(
            "CREATE TEMP TABLE extra AS SELECT * FROM rows WHERE id = ?", (other.id,)
        )
        connection.execute("UPDATE extra SET n = NULL, id = ?", ("0" * 8 + other.id[8:],))
        n = connection.execute("INSERT INTO rows SELECT * FROM extra").lastrowid
        same = "n = (SELECT n FROM rows WHERE id = ?)"
        for table, columns in (("vectors", "vector"), ("held", "code, length")):
            copied = f"INSERT INTO {table} SELECT ?, {columns} FROM {table} WHERE {same}"
            connection.execute(copied, (n, other.id))


def instance(instep):
    return json.loads((instep.data / "instance.json").read_text())


def http(instep, address, body=None):
    """Status and answer of the running gateway."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        instance(instep)["gateway_url"] + address, data=data, headers=instep.shown
    )
    try:
        with urllib.request.urlopen(request, timeout=300) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def differences(answer):
    return {kind: answer[kind] for kind in KINDS if answer[kind]}


def agrees(instep):
    status, answer = http(instep, "/api/v1/sweep", {"dry_run": True})
    return status == 200 and answer["clean"]


def search(instep, words):
    """Paths that the running instance finds; None while it cannot say."""
    status, answer = http(instep, "/api/v1/search", {"q": words, "limit": 50})
    return {hit["document"]["path"] for hit in answer["hits"]} if status == 200 else None


def encoded(instep, path):
    _, answer = http(instep, f"/api/v1/documents/notes/{path}")
    return answer["served"]["encoded"]


def test_rows_that_somebody_changed_are_put_right(instep, notes):
    instep.json("up", notes, "--once")
    break_rows(instep)
    assert differences(instep.json("sweep", "--dry-run")) == BROKEN  # nothing runs

    instep.up(notes)
    wait_until(lambda: agrees(instep))
    assert "not it" not in {row.text for row in rows_of(instep, "n2.md")}
    assert [encoded(instep, f"n{n}.md") for n in (1, 2)] == [0, 0]
    last = http(instep, "/api/v1/status")[1]["last_sweep"]
    assert (last["repaired"], last["needs_you"]) == (3, False)

    break_rows(instep)
    assert generate_embeddings(data=instep.data) == {"processed": 3, "failed": 0}
    assert generate_embeddings(data=instep.data) == {"processed": 0, "failed": 0}
    assert [encoded(instep, f"n{n}.md") for n in (1, 2, 3)] == [0, 0, 0]
    with pytest.raises(ConfigurationError, match="batch_size"):
        generate_embeddings(0, data=instep.data)

    break_rows(instep)
    status, answer = http(instep, "/api/tasks/generate-embeddings", {"batch_size": 50})
    assert (status, answer["task_name"], answer["status"]) == (
        202,
        "enrich.generate_embeddings",
        "queued",
    )
    wait_until(lambda: agrees(instep))

    instep.stop()
    with pytest.raises(BusUnavailable, match="instep up"):
        generate_embeddings(data=instep.data)


async def delete_ledger(url):
    client = await nats.connect(url)
    js = client.jetstream()
    names = [stream.config.name for stream in await js.streams_info()]
    (ledger,) = (name for name in names if name.startswith("KV_ledger_"))
    await js.delete_stream(ledger)
    await client.close()


def test_a_ledger_that_somebody_deletes_under_a_running_instance_is_rebuilt(instep, notes):
    instep.up(notes)
    wait_until(lambda: len(search(instep, "lantern") or ()) == 6)
    (notes / "n0.md").unlink()
    wait_until(lambda: search(instep, "lantern") == {f"n{n}.md" for n in range(1, 6)})

    asyncio.run(delete_ledger(instance(instep)["nats_url"]))

    def all_there():
        paths = search(instep, "lantern")
        assert "n0.md" not in (paths or ())
        return paths == {f"n{n}.md" for n in range(1, 6)}

    wait_until(all_there, within_s=180)
    wait_until(lambda: agrees(instep))
    assert sum(encoded(instep, f"n{n}.md") for n in range(1, 6)) == 0
    (notes / "n1.md").write_text("# New\n\nAbout marmalade.\n")
    wait_until(lambda: "n1.md" in (search(instep, "marmalade") or ()))


def test_a_ledger_lost_while_stopped_is_rebuilt_without_encoding(instep, notes):
    instep.json("up", notes, "--once")
    for ledger in (instep.data / "server").rglob("KV_ledger_*"):
        shutil.rmtree(ledger)

    swept = instep.json("sweep")
    assert differences(swept) == {"lost": 6}
    assert (swept["resubmitted"], swept["processed"]) == (6, 0)  # nobody works

    again = instep.json("up", notes, "--once")
    assert again["chunks"]["embedded"] == 0
    assert again["documents"]["searchable"] == 6


def test_a_server_store_that_is_lost_is_rebuilt_from_the_folder(instep, notes):
    instep.json("up", notes, "--once")
    shutil.rmtree(instep.data / "server")
    (notes / "n0.md").unlink()
    instep.up(notes)

    wait_until(lambda: len(search(instep, "lantern") or ()) == 5)
    assert "n0.md" not in wait_until(lambda: search(instep, "unique0"))
    wait_until(lambda: agrees(instep))
    assert rows_of(instep, "n0.md") == []
