"""From a commit in a real Postgres until search finds the row, through the real Debezium Server."""

import asyncio
import json
import statistics
import time
import urllib.request

import debezium_server
import nats
import pytest
from instep_process import Instep, wait_until

pytestmark = [pytest.mark.debezium, pytest.mark.nats, pytest.mark.slow]

SUBJECT = "instep.sources.changed.shop"
EDITS = 20
SETTINGS = """
[sources.shop]
kind = "sql"
url = "postgresql://postgres@127.0.0.1:{port}/postgres"
table = "articles"
key = "id"
body = "body"
changes = "{subject}"
poll = "1 h"
rescan = "1 h"
"""


@pytest.fixture
def table():
    with debezium_server.postgres() as server:
        server("create table articles (id bigint primary key, body text)")
        server("insert into articles select n, 'article ' || n from generate_series(1, 200) n")
        yield server


@pytest.fixture
def instep(tmp_path, table):
    made = Instep(tmp_path / "data", tmp_path, {})  # with the model that comes with instep
    settings = SETTINGS.format(port=table.port, subject=SUBJECT)
    (tmp_path / "instep.toml").write_text(settings)
    made.up()
    wait_until(lambda: made.json("status")["in_step"])
    yield made
    made.stop()


@pytest.fixture
def capture(tmp_path, table, instep):
    instance = json.loads((instep.data / "instance.json").read_text())
    asyncio.run(with_stream(instance["nats_url"]))
    folder = tmp_path / "debezium"
    server = debezium_server.debezium(folder, table.port, instance["nats_url"], SUBJECT)
    server.start()
    yield server
    server.stop()


async def with_stream(url):
    client = await nats.connect(url)
    await client.jetstream().add_stream(
        name=debezium_server.STREAM, subjects=["instep.sources.changed.*"], max_age=3600
    )
    await client.close()


def found(instep, word):
    """Paths of the documents with this word, asked over HTTP: the command line takes its time."""
    gateway = json.loads((instep.data / "instance.json").read_text())["gateway_url"]
    asked = urllib.request.Request(
        f"{gateway}/api/v1/search",
        json.dumps({"q": word, "mode": "keyword"}).encode(),
        {"content-type": "application/json", **instep.shown},
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return {hit["document"]["path"] for hit in json.load(answer)["hits"]}


def test_a_committed_row_is_found_without_a_listing(instep, table, capture):
    took = []
    for n in range(EDITS):
        word = f"harbour{n}x"
        table(f"update articles set body = 'the {word}' where id = {n + 1}")
        committed = time.monotonic()
        wait_until(lambda word=word, n=n: found(instep, word) == {str(n + 1)}, every_s=0.02)
        took.append(time.monotonic() - committed)
        assert n == 0 or found(instep, f"harbour{n - 1}x") == {str(n)}
    table("delete from articles where id = 1")
    wait_until(lambda: found(instep, "harbour0x") == set())
    assert capture.runs
    part = statistics.quantiles(took, n=20, method="inclusive")
    print(f"\ncommit to searchable, {EDITS} edits: p50 {part[9]:.2f} s, p95 {part[18]:.2f} s")
