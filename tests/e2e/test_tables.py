"""Rows of SQLite and of a real Postgres, and the command line as processes."""

import asyncio
import json
from pathlib import Path

import nats
import postgres_server
import pytest
from databases import with_driver
from instep_process import FAKE, wait_until
from sqlalchemy import NullPool, create_engine, make_url, text

pytestmark = pytest.mark.nats

CAPTURED = Path(__file__).parents[1] / "golden" / "debezium" / "bare" / "updated.json"
"""A change of the row with the key 1."""
SUBJECT = "instep.sources.changed.shop"
SECRET = "hunter2-of-tests"


class Table:
    """The table `articles` of one database, and its source in the settings of `instep`."""

    def __init__(self, url, instep):
        self.url, self._instep = url, instep
        self._engine = create_engine(with_driver(url), poolclass=NullPool)
        self("DROP TABLE IF EXISTS articles")
        self(
            "CREATE TABLE articles (id INTEGER PRIMARY KEY, name TEXT, body TEXT, brand TEXT,"
            " rating REAL, for_sale INTEGER DEFAULT 1, edited INTEGER DEFAULT 1)"
        )

    def __call__(self, statement, **values):
        with self._engine.begin() as connection:
            connection.execute(text(statement), values)

    def add(self, number, name, body):
        self(
            "INSERT INTO articles (id, name, body, brand, rating)"
            " VALUES (:id, :name, :body, 'K', 2)",
            id=number,
            name=name,
            body=body,
        )

    def set(self, number, **values):
        for name, value in values.items():
            self(f"UPDATE articles SET {name} = :value WHERE id = :id", value=value, id=number)

    def watched(self, **settings):
        write(self._instep, **({"url": self.url} | settings))


def write(instep, **settings):
    """Write the settings of the source; a value of None leaves a setting out."""
    given = {
        "kind": "sql",
        "table": "articles",
        "key": "id",
        "title": "name",
        "body": "body",
        "metadata": "brand",
        "static_score": "rating",
        "is_active": "for_sale",
    } | settings
    lines = [f"{name} = {json.dumps(value)}" for name, value in given.items() if value]
    (instep.cwd / "instep.toml").write_text("[sources.shop]\n" + "\n".join(lines) + "\n")


@pytest.fixture
def sqlite_table(tmp_path, instep):
    instep.env = dict(FAKE)
    return Table(f"sqlite:///{tmp_path}/shop.db", instep)


@pytest.fixture
def asks_for_passwords(tmp_path):
    """The address of a Postgres of this test that lets nobody in without a password."""
    with postgres_server.running(tmp_path) as server:
        engine = create_engine(make_url(server.url).set(drivername="postgresql+psycopg"))
        with engine.begin() as connection:
            connection.execute(text("ALTER USER postgres PASSWORD 'another one'"))
        engine.dispose()
        rules = "host all all 127.0.0.1/32 scram-sha-256\n"
        (server.folder / "data" / "pg_hba.conf").write_text(rules)
        server.stop()
        server.start()
        yield server.url


def worded(instep, word):
    """Paths of the documents that have this word."""
    answer = instep.json("search", word, "-n", 50, "--mode", "keyword")
    return [hit["document"]["path"] for hit in answer["hits"]]


def told(done):
    return done.stderr.strip().splitlines()[-1]


def test_a_run_of_once_takes_what_has_changed_in_a_table_since_the_last(instep, sqlite_table):
    table = sqlite_table
    table.add(1, "Storm lamp", "lantern by the quay")
    table.add(2, "Compass", "needle of brass")
    table.watched()

    first = instep.json("up", "--once")
    assert (first["documents"]["searchable"], worded(instep, "lantern")) == (2, ["1"])
    shown = instep("show", "shop/1", "--chunks").stdout
    assert "Storm lamp Storm lamp\n" in shown
    assert "brand    K" in shown
    assert "static score 2" in shown

    table.set(1, body="anchor by the quay")
    table("DELETE FROM articles WHERE id = 2")
    second = instep.json("up", "--once")
    assert (second["documents"]["updated"], second["documents"]["searchable"]) == (1, 1)
    assert (worded(instep, "anchor"), worded(instep, "needle")) == (["1"], [])

    table.set(1, for_sale=0)
    instep.json("up", "--once")
    assert worded(instep, "anchor") == []
    table.set(1, for_sale=1)
    again = instep.json("up", "--once")
    assert (worded(instep, "anchor"), again["chunks"]["embedded"]) == (["1"], 0)


@pytest.mark.parametrize(
    ("server", "watermark"),
    [
        pytest.param("", None, id="sqlite"),
        pytest.param("", "edited", id="sqlite, with a watermark"),
        pytest.param("postgres", "edited", id="postgres, with a watermark", marks=pytest.mark.sql),
        pytest.param("mariadb", None, id="mariadb", marks=pytest.mark.sql),
    ],
)
def test_a_table_is_followed_as_a_folder_is(instep, sqlite_table, request, server, watermark):
    """Each with and without a watermark: `tests/integration/producer/test_watching_tables.py`."""
    table = Table(request.getfixturevalue(server), instep) if server else sqlite_table
    rescan = "1 h" if watermark else "5 min"
    table.add(1, "Storm lamp", "lantern by the quay")
    table.watched(watermark=watermark, poll="200 ms", rescan=rescan)
    instep.up()
    wait_until(lambda: worded(instep, "lantern") == ["1"])

    table("UPDATE articles SET body = 'anchor by the quay', edited = 2 WHERE id = 1")

    wait_until(lambda: worded(instep, "anchor") == ["1"] and not worded(instep, "lantern"))
    (seen,) = instep.json("status")["sources"]
    assert (seen["kind"], seen["error"]) == ("sql", "")
    assert seen["path"].endswith("#articles")
    checks = {c["name"]: c for c in instep.json("doctor", status=(0, 1))["checks"]}
    assert checks["source shop"]["level"] == "ok"


@pytest.mark.parametrize(
    ("settings", "words", "status"),
    [
        ({"title": "nam"}, 'there is no column "nam"; did you mean "name"?', 3),
        ({"table": None, "query": "DELETE FROM articles"}, "query must only read", 2),
    ],
    ids=["column", "writing query"],
)
def test_a_table_that_cannot_be_read_is_told_with_the_reason_and_loses_nothing(
    instep, sqlite_table, settings, words, status
):
    """All reasons, of each database: `tests/integration/producer/test_watching_tables.py`."""
    table = sqlite_table
    table.add(1, "Storm lamp", "lantern by the quay")
    table.watched()
    instep.json("up", "--once")
    table.watched(**settings)

    done = instep("up", "--once", timeout=120)

    assert (done.returncode, words in told(done)) == (status, True), done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    table.watched()
    assert worded(instep, "lantern") == ["1"]


@pytest.mark.sql
def test_a_query_that_writes_by_a_function_is_refused_by_the_database(instep, postgres):
    instep.env = dict(FAKE)
    table = Table(postgres, instep)
    table.add(1, "Storm lamp", "lantern by the quay")
    query = "WITH gone AS (DELETE FROM articles RETURNING *) SELECT * FROM gone"
    table.watched(table=None, query=query)

    done = instep("up", "--once", timeout=120)

    assert (done.returncode, "the query writes" in told(done)) == (3, True), done.stderr
    table.watched()
    assert instep.json("up", "--once")["documents"]["searchable"] == 1


@pytest.mark.sql
@pytest.mark.parametrize("by", ["variable", "url"])
def test_a_wrong_password_is_told_and_never_shown(instep, asks_for_passwords, by):
    instep.env = dict(FAKE)
    address = make_url(asks_for_passwords)
    if by == "url":
        address = address.set(password=SECRET)
    else:
        instep.env["INSTEP_SOURCES__SHOP__PASSWORD"] = SECRET
    write(instep, url=address.render_as_string(hide_password=False))

    done = instep("up", "--once", timeout=120)

    assert done.returncode == 3, done.stderr
    assert "the user or the password is not accepted" in told(done)
    logs = "".join(path.read_text(errors="replace") for path in instep.data.rglob("*.log"))
    assert SECRET not in done.stdout + done.stderr + logs + instep("settings").stdout


def test_a_message_of_debezium_makes_an_edited_row_searchable_long_before_the_next_listing(
    instep, sqlite_table
):
    sqlite_table.add(1, "Storm lamp", "lantern by the quay")
    sqlite_table.add(2, "Compass", "needle of brass")
    sqlite_table.watched(changes=SUBJECT, poll="1 h", rescan="1 h")
    instep.up()
    wait_until(lambda: sorted(worded(instep, "lantern") + worded(instep, "needle")) == ["1", "2"])
    sqlite_table.set(1, body="anchor by the quay")
    sqlite_table.set(2, body="needle of steel")

    asyncio.run(publish(instep, CAPTURED.read_bytes()))

    wait_until(lambda: worded(instep, "anchor") == ["1"] and not worded(instep, "lantern"))
    assert worded(instep, "steel") == []  # no message named it, and no listing took place


async def publish(instep, message):
    url = json.loads((instep.data / "instance.json").read_text())["nats_url"]
    client = await nats.connect(url)
    await client.publish(SUBJECT, message)
    await client.close()
