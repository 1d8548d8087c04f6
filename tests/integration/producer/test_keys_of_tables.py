"""Key columns of every type, in a real Postgres and a real MariaDB."""

import pytest
from databases import with_driver
from sqlalchemy import NullPool, create_engine, text
from table_source import Counted
from watched import Watched

from services.producer.sources.port import SourceUnavailable, Unreadable
from services.producer.sources.sql.table import open_table
from shared.settings import SqlSettings

pytestmark = pytest.mark.sql

POSTGRES = {
    "mood": ("'sad'", "'so so'"),
    "mood[]": ("'{sad}'",),
    "int[]": ("'{1,2}'", "'{}'"),
    "text[]": ("'{a}'",),
    "smallint": ("1", "-2"),
    "numeric(9,2)": ("1.50", "2"),
    "real": ("0.5", "0.1", "1e30"),
    "double precision": ("0.1", "'infinity'", "1e-300"),
    "boolean": ("true", "false"),
    "char(5)": ("'a'", "'bcdef'"),
    '"char"': ("'a'",),
    "bytea": ("'\\x00ff'",),
    "uuid": ("'c0ffee00-0000-0000-0000-000000000001'",),
    "inet": ("'10.0.0.1'", "'10.0.0.0/8'", "'::1'"),
    "cidr": ("'10.0.0.0/8'",),
    "macaddr": ("'08:00:2b:01:02:03'",),
    "date": ("'2026-11-30'",),
    "time": ("'10:00:00'", "'10:00:00.5'"),
    "timetz": ("'10:00:00+02'",),
    "timestamp": ("'2026-11-30 10:00:00.25'",),
    "timestamptz": ("'2026-11-30 10:00:00+02'",),
    "interval": ("'26 hours'", "'-1 day'"),
    "int4range": ("'[1,5)'",),
    "jsonb": ('\'{"b": 1, "a": [1.50, "ü"]}\'', "'{}'"),
    "json": ("'{\"b\": 1}'",),
    "point": ("'(1,2)'",),
    "money": ("'1.50'",),
    "bit(3)": ("B'101'",),
    "tsvector": ("'a b'",),
    "oid": ("7",),
    "name": ("'a'",),
}
MARIADB = {
    "ENUM('sad', 'so so')": ("'sad'", "'so so'"),
    "SET('a', 'b')": ("'a,b'", "''"),
    "TINYINT": ("1", "-2"),
    "BIGINT UNSIGNED": ("18446744073709551615", "1"),
    "DECIMAL(9,2)": ("1.50", "2"),
    "FLOAT": ("0.5", "0.1"),
    "DOUBLE": ("0.1", "1e-300"),
    "BIT(9)": ("b'100000001'",),
    "CHAR(5)": ("'a'", "'bcdef'"),
    "BINARY(4)": ("'a'",),
    "VARBINARY(9)": ("x'00ff'",),
    "DATE": ("'2026-11-30'",),
    "TIME": ("'10:00:00'", "'26:00:00'", "'-01:00:00'"),
    "DATETIME(6)": ("'2026-11-30 10:00:00.25'",),
    "TIMESTAMP": ("'2026-11-30 10:00:00'",),
    "YEAR": ("2026",),
    "UUID": ("'c0ffee00-0000-0000-0000-000000000001'",),
    "INET6": ("'::1'",),
    "JSON": ("'{\"b\": 1}'",),
}
TOLD = {"int[]", "text[]", "json", "point", "FLOAT", "DOUBLE", "BIT(9)", "TIME"}
"""Types with values that nothing can be compared with, or that no driver spells as the server."""
NO_VALUES = {
    "mood": "happy",
    "smallint": "70000",
    "inet": "no address",
    "date": "2026-13-45",
    "timestamptz": "yesterdayish",
    "time": "99:00",
    "interval": "a while",
    "int4range": "[",
    "uuid": "no id",
    "jsonb": "{",
    "boolean": "perhaps",
    "numeric(9,2)": "much",
    "bytea": "zz",
}


class Table(Watched):
    """The table `typed` with one column as its key."""

    def __init__(self, root, url, kind, *keys):
        self.engine = create_engine(with_driver(url), poolclass=NullPool)
        self.run("DROP TABLE IF EXISTS typed")
        if url.startswith("postgresql"):
            self.run("DROP TYPE IF EXISTS mood")
            self.run("CREATE TYPE mood AS ENUM ('sad', 'so so')")
        self.run(f"CREATE TABLE typed (id {kind}, body TEXT)")
        for key in keys:
            self.run(f"INSERT INTO typed VALUES ({key}, 'text')".replace(":", "\\:"))
        given = {"kind": "sql", "url": url, "table": "typed", "key": "id", "body": "body"}
        self.given = SqlSettings.model_validate(given)
        super().__init__(root, **given, settle=0.0)

    def source(self):
        self.table = Counted(self.settings)
        return self.table

    def hints(self, sync):
        self.told = Told()
        return self.told

    def run(self, statement):
        with self.engine.begin() as connection:
            connection.execute(text(statement))


class Told:
    """Hints of a test. Implements `services.producer.sources.port.Hints`."""

    anew = False

    async def start(self, heard):
        self.heard = heard

    async def stop(self):
        pass

    async def watch_the_same(self, root):
        pass

    def interval(self, took_s, *, waits):
        return 3600.0


def typed(kinds, name):
    return [pytest.param(name, kind, keys, id=f"{name} {kind}") for kind, keys in kinds.items()]


@pytest.mark.parametrize(
    ("server", "kind", "keys"), typed(POSTGRES, "postgres") + typed(MARIADB, "mariadb")
)
def test_a_row_is_found_by_the_path_that_a_listing_gives_it_or_the_key_is_told(
    server, kind, keys, tmp_path, request
):
    table = Table(tmp_path / "unused", request.getfixturevalue(server), kind, *keys)
    source = open_table(table.given)

    try:
        paths = source.scan().files
    except SourceUnavailable as told:
        assert "rows are not found by `key` (id)" in str(told)  # noqa: PT017 - either is right
        assert kind in TOLD
        return

    assert kind not in TOLD
    assert len(paths) == len(keys)
    looked = source.look_at(paths, paths)
    assert (looked.present, looked.vanished, looked.problems) == (paths, [], {})
    assert [source.read(path).data for path in paths] == [b"text"] * len(keys)


def test_a_row_whose_key_alone_cannot_be_compared_is_told_and_hides_no_other(tmp_path, postgres):
    table = Table(tmp_path / "unused", postgres, "jsonb", "'{}'", "'\"a text\"'", "'[]'")
    source = open_table(table.given)
    paths = source.scan().files

    looked = source.look_at(paths, paths)

    assert paths.keys() == {"{}", "a text", "[]"}
    assert (looked.present.keys(), looked.vanished) == ({"{}", "[]"}, [])
    assert "does not compare the key" in looked.problems["a text"]
    with pytest.raises(Unreadable, match="does not compare the key"):
        source.read("a text")


@pytest.mark.parametrize(("kind", "no_value"), NO_VALUES.items())
def test_a_text_that_is_no_value_of_the_key_says_nothing_about_rows(
    kind, no_value, tmp_path, postgres
):
    table = Table(tmp_path / "unused", postgres, kind, *POSTGRES[kind])
    source = open_table(table.given)
    paths = source.scan().files

    looked = source.look_at({no_value, *paths}, {no_value, *paths})

    assert looked.present == paths
    assert [*looked.vanished, *looked.problems] == [no_value]
    try:
        assert source.read(no_value) is None
    except Unreadable as told:
        assert "does not compare the key" in str(told)  # noqa: PT017 - either is right


async def test_a_hint_about_no_value_of_the_key_is_told_and_lists_nothing_again(
    tmp_path, postgres, eventually
):
    docs = Table(tmp_path / "unused", postgres, "mood", "'sad'")
    async with docs.running():
        docs.run("UPDATE typed SET body = 'new'")
        docs.told.heard({"happy", "sad"})
        await eventually(lambda: docs.held() == {"sad": "new"})
        health = docs.sources["docs"]
        assert health.problems.keys() == {"happy"}
        assert (docs.table.listings, health.error) == (1, "")
