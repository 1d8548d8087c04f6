"""The whole flow with Postgres as the store: edits, a restart of the server, a dropped table."""

import json

import postgres_server
import psycopg
import pytest
from instep_process import FAKE, Instep, wait_until
from prometheus_client.parser import text_string_to_metric_families
from services_alone import get

pytestmark = pytest.mark.stores


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with postgres_server.running(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture
def instep(tmp_path, server):
    settings = {
        "INSTEP_STORE__KIND": "pgvector",
        "INSTEP_STORE__PGVECTOR__URL": server.url,
        "INSTEP_STORE__PGVECTOR__PREFIX": "e2e",
        "INSTEP_HEALTH__PORT": "0",
        "INSTEP_TELEMETRY__LEVEL": "info",
    }
    made = Instep(tmp_path / "data", tmp_path, env=FAKE | settings)
    yield made
    made.stop()


def tables(server):
    with psycopg.connect(server.url) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'e2e%'")
        return [name for (name,) in found.fetchall()]


def test_the_index_in_postgres_stays_in_step_whatever_happens_to_the_server(
    instep, tmp_path, server
):
    notes = tmp_path / "notes"
    notes.mkdir()
    for n in range(5):
        (notes / f"n{n}.md").write_text(f"# Note {n}\n\nA text about unique{n} things.\n")
    instep.up(notes)
    wait_until(lambda: instep.found("unique3")[:1] == ["n3.md"])

    (notes / "n3.md").write_text("# Zeppelin\n\nA text about zeppelins.\n")
    wait_until(lambda: instep.found("zeppelins")[:1] == ["n3.md"])
    (notes / "n3.md").unlink()
    wait_until(lambda: "n3.md" not in instep.found("zeppelins"))

    server.stop()
    (notes / "new.md").write_text("# New\n\nA text about unique7 things.\n")
    server.start()
    wait_until(lambda: instep.found("unique7")[:1] == ["new.md"])

    before = encoded(instep)
    with psycopg.connect(server.url, autocommit=True) as connection:
        (table,) = tables(server)
        connection.execute(f"DROP TABLE {table}")
    wait_until(lambda: "table_made_anew" in log_of(instep))
    wait_until(lambda: instep.json("validate", status=(0, 1))["passed"])

    assert [instep.found(f"unique{n}")[:1] for n in (0, 1, 2, 4)] == [
        [f"n{n}.md"] for n in (0, 1, 2, 4)
    ]
    assert encoded(instep) == before
    assert tables(server) == [table]


def test_a_database_that_cannot_be_used_is_explained_before_and_at_the_start(
    instep, tmp_path, server
):
    told = instep.json("doctor", status=(0, 1))
    (store,) = [check for check in told["checks"] if check["name"] == "store"]
    instep.env["INSTEP_STORE__PGVECTOR__URL"] = f"{server.url}-absent"
    (fault,) = [c for c in instep.json("doctor", status=(1,))["checks"] if c["name"] == "store"]
    (tmp_path / "notes").mkdir()
    started = instep("up", tmp_path / "notes")

    assert store["level"] == "ok"
    assert "pgvector" in store["text"]
    assert (fault["level"], fault["fix"]) == ("FAIL", "check store.pgvector.url")
    assert started.returncode == 2
    assert "check store.pgvector.url" in started.stderr


def log_of(instep):
    return (instep.cwd / "up-0.log").read_text()


def encoded(instep):
    """Texts that the process has encoded."""
    told = next(line for line in log_of(instep).splitlines() if "health_listening" in line)
    page = get(f"http://127.0.0.1:{json.loads(told)['port']}/metrics").text
    families = text_string_to_metric_families(page)
    samples = [s for f in families for s in f.samples if s.name == "instep_texts_total"]
    return sum(s.value for s in samples if s.labels["how"] == "encoded")
