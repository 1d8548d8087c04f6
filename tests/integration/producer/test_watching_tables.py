"""A table of SQLite and of a real Postgres, memory for everything else: its rows are changed."""

import signal
from datetime import UTC, datetime

import postgres_server
import pytest
from databases import with_driver
from pydantic import ValidationError
from sqlalchemy import NullPool, create_engine, text
from watched import Watched

from services.producer.sources.port import SourceUnavailable
from services.producer.sources.sql import database
from services.producer.sources.sql.hints import SqlHints, rest_s
from services.producer.sources.sql.row import _ns
from services.producer.sources.sql.table import open_table
from shared.settings import SqlSettings

COLUMNS = {
    "title": "title",
    "body": "body",
    "metadata": "lang",
    "is_active": "shown",
    "static_score": "score",
}


class WatchedTable(Watched):
    def __init__(self, root, url, **settings):
        self.engine = create_engine(with_driver(url), poolclass=NullPool)
        self.run("DROP TABLE IF EXISTS articles")
        self.run(
            "CREATE TABLE articles (id INTEGER PRIMARY KEY, title TEXT, body TEXT, lang TEXT,"
            " score REAL, shown BOOLEAN DEFAULT true, edited INTEGER)"
        )
        given = {"kind": "sql", "url": url, "key": "id", "poll": 0.05, "settle": 0.0} | COLUMNS
        where = {} if "query" in settings else {"table": "articles"}
        super().__init__(root, **(given | where | settings))

    def source(self):
        return open_table(self.settings)

    def hints(self, sync):
        return SqlHints(sync.source, self.settings, self.settings.watermark)

    def run(self, statement, **values):
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    def put(self, number, body, edited=0):
        self.run("DELETE FROM articles WHERE id = :id", id=number)
        self.run(
            "INSERT INTO articles (id, title, body, lang, score, edited)"
            " VALUES (:id, 'T', :body, 'de', 0.5, :edited)",
            id=number,
            body=body,
            edited=edited,
        )

    def count(self):
        with self.engine.begin() as connection:
            return connection.execute(text("SELECT count(*) FROM articles")).scalar()


SERVERS = [pytest.param(name, marks=pytest.mark.sql) for name in ("postgres", "mariadb")]


@pytest.fixture(params=["sqlite", *SERVERS])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/docs.db"
    return request.getfixturevalue(request.param)


async def test_create_edit_and_delete_are_seen_and_a_row_tells_title_score_and_activity(
    tmp_path, url, eventually
):
    docs = WatchedTable(tmp_path / "unused", url)
    docs.put(1, "one")
    async with docs.running():
        docs.put(2, "two")
        await eventually(lambda: docs.held() == {"1": "one", "2": "two"})
        docs.put(2, "three")
        await eventually(lambda: docs.held()["2"] == "three")
        told = docs.log.appended[-1]
        assert (told.title, told.metadata, told.static_score) == ("T", {"lang": "de"}, 0.5)
        docs.run("UPDATE articles SET shown = false WHERE id = 2")
        await eventually(lambda: docs.log.appended[-1].is_active is False)
        docs.run("UPDATE articles SET shown = true WHERE id = 2")
        await eventually(lambda: docs.log.appended[-1].is_active is True)
        docs.run("DELETE FROM articles WHERE id = 1")
        await eventually(lambda: docs.held() == {"2": "three"})


async def test_a_new_watermark_shows_an_edit_long_before_the_next_listing(
    tmp_path, url, eventually
):
    docs = WatchedTable(tmp_path / "unused", url, watermark="edited")
    docs.put(1, "one", edited=1)
    async with docs.running():
        docs.put(1, "two", edited=2)
        docs.put(5, "new", edited=3)
        await eventually(lambda: docs.held() == {"1": "two", "5": "new"})


async def test_a_table_that_is_emptied_is_held_and_a_table_that_is_gone_removes_nothing(
    tmp_path, url, eventually
):
    docs = WatchedTable(tmp_path / "unused", url)
    for number in range(30):
        docs.put(number, "text")
    async with docs.running() as watch:
        docs.run("DELETE FROM articles")
        await eventually(lambda: watch.held is not None)
        docs.run("DROP TABLE articles")
        await eventually(lambda: "no such table" in docs.sources["docs"].error)
    assert len(docs.held()) == 30


def test_a_column_that_is_missing_is_told_with_the_nearest_name(tmp_path, url):
    docs = WatchedTable(tmp_path / "unused", url, body="bodi")

    with pytest.raises(SourceUnavailable, match='no column "bodi"; did you mean "body"'):
        docs.source().identity()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("DELETE FROM articles", "must only read"),
        ("SELECT * FROM articles; DROP TABLE articles", "must be one statement"),
        ("SELECT * FROM articles) AS q; DROP TABLE articles; --", "must be one statement"),
        ("SELECT 'open; DROP TABLE articles", "without its end"),
        ("SELECT 1 /* open; DROP TABLE articles", "without its end"),
        ("SELECT 1 /*/; DROP TABLE articles", "without its end"),
    ],
)
def test_a_query_that_is_no_single_selection_is_refused_by_the_settings(query, words):
    given = {"kind": "sql", "url": "sqlite:///a.db", "key": "id", "body": "body"}

    with pytest.raises(ValidationError, match=words):
        SqlSettings.model_validate(given | {"query": query})


@pytest.mark.parametrize(
    "query",
    [
        "WITH gone AS (DELETE FROM articles RETURNING *) SELECT * FROM gone",
        "SELECT * FROM articles FOR UPDATE",
        "SELECT * INTO another FROM articles",
    ],
)
def test_a_query_that_writes_changes_nothing(tmp_path, url, query):
    docs = WatchedTable(tmp_path / "unused", url, query=query)
    docs.put(1, "one")

    with pytest.raises(SourceUnavailable, match="query"):
        docs.source().scan()

    assert docs.count() == 1


def test_no_fault_and_no_place_holds_the_password(tmp_path):
    url = "postgresql://reader:s3cret@127.0.0.1:9/shop?sslmode=disable"
    given = {"kind": "sql", "table": "a", "key": "id", "body": "body"}
    source = open_table(SqlSettings.model_validate(given | {"url": url}))

    with pytest.raises(SourceUnavailable) as caught:
        source.identity()

    assert str(caught.value) == (
        "postgresql://127.0.0.1:9/shop#a: the server does not answer, or ended the connection"
    )


@pytest.mark.sql
async def test_a_server_that_stops_removes_nothing_and_is_read_again_when_it_is_back(
    tmp_path, eventually
):
    with postgres_server.running(tmp_path) as server:
        docs = WatchedTable(tmp_path / "unused", server.url)
        for number in range(30):
            docs.put(number, "text")
        async with docs.running() as watch:
            server.stop(signal.SIGKILL)
            await eventually(lambda: "the server does not answer" in docs.sources["docs"].error)
            server.start()
            docs.put(1, "after")
            await eventually(lambda: docs.held()["1"] == "after")
            await eventually(lambda: docs.sources["docs"].error == "")
            assert (watch.held, len(docs.held())) == (None, 30)
            docs.run("TRUNCATE articles")
            await eventually(lambda: watch.held is not None)
            assert len(docs.held()) == 30


async def test_the_type_of_a_key_may_change_while_it_is_watched(tmp_path, eventually):
    docs = WatchedTable(tmp_path / "unused", f"sqlite:///{tmp_path}/docs.db")
    docs.put(1, "one")
    async with docs.running():
        docs.run("DROP TABLE articles")
        docs.run("CREATE TABLE articles (id TEXT, title, body, lang, score, shown DEFAULT 1)")
        docs.run("INSERT INTO articles (id, title, body) VALUES ('1', 'T', 'two'), ('x', 'T', 'y')")
        await eventually(lambda: docs.held() == {"1": "two", "x": "y"})


def test_a_file_that_another_program_locks_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "CONNECT_S", 0)
    docs = WatchedTable(tmp_path / "unused", f"sqlite:///{tmp_path}/docs.db")
    with docs.engine.connect() as other:
        other.execute(text("BEGIN EXCLUSIVE"))
        with pytest.raises(SourceUnavailable, match="locked by another program"):
            docs.source().scan()


@pytest.mark.parametrize("key", ["%ED%A0%80", "9" * 25, "%00", "x/y", "no number"])
def test_a_name_that_no_row_can_have_is_no_fault(tmp_path, url, key):
    docs = WatchedTable(tmp_path / "unused", url)
    docs.put(1, "one")
    source = docs.source()

    looked = source.look_at({key}, {key, "1"})

    assert (set(looked.present), looked.vanished) == ({"1"}, [key])
    assert source.read(key) is None


@pytest.mark.parametrize(
    "mark", ["2026-11-30", datetime(2026, 11, 30, 1, 2, 3), "2026-11-30 01:02"]
)
def test_a_time_that_tells_two_edits_not_apart_is_never_long_ago(mark):
    read_at = datetime(2026, 11, 30, 6, 2, 4, tzinfo=UTC)

    assert _ns(mark) > read_at.timestamp() * 1e9


@pytest.mark.parametrize(
    ("took_s", "before_s", "expected_s"),
    [(0.01, 0.01, 2.0), (3.0, 0.01, 2.0), (0.01, 3.0, 2.0), (3.0, 4.0, 60.0)],
)
def test_one_slow_poll_does_not_put_off_the_next_one(took_s, before_s, expected_s):
    assert rest_s(took_s, before_s, 2.0) == pytest.approx(expected_s)


class Fault(Exception):
    def __init__(self, *args, sqlstate=None):
        super().__init__(*args)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("row 'secret'", sqlstate="28P01"), "the user or the password is not accepted"),
        (Fault("row 'secret'", sqlstate="42501"), "permission is denied: grant SELECT"),
        (Fault("row 'secret'", sqlstate="22012"), "the database answers with error 22012"),
        (Fault(1146, "row 'secret'"), "there is no such table"),
        (Fault(1146, "row 'secret'", sqlstate="42S02"), "there is no such table"),
        (Fault(1142, "row 'secret'", sqlstate="42000"), "permission is denied: grant SELECT"),
        (Fault(1054, "row 'secret'", sqlstate="42S22"), "there is no such column"),
        (Fault(1064, "row 'secret'", sqlstate="42000"), "the server does not understand"),
        (Fault(1690, "row 'secret'"), "the database answers with error 1690"),
        (Fault(2013, "row 'secret'"), "the server does not answer"),
        (Fault("row 'secret'"), "the server does not answer"),
    ],
)
def test_a_fault_of_the_database_is_told_without_its_text(fault, words):
    told = database.in_words(fault)

    assert told.startswith(words)
    assert "secret" not in told
