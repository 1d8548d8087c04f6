"""A table as a source: how long a listing takes, and an edit until a search finds it.

    python bench/table.py [--rows 100000] [--edits 20]

The databases are a file of SQLite, and a Postgres of this machine where there is one. The listing
is that of the producer's own adapter, in a process of its own, with and without a watermark. Edits
go to a table of 200 rows with a watermark; --model fake-384 leaves the encoding out.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edit import Asker
from harness import Instep, spread, wait_until
from sqlalchemy import Engine, NullPool, create_engine, make_url, text

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

LIST = """
import json, pathlib, sys, time
from services.producer.sources.sql.table import open_table
from shared.settings import SqlSettings
source = open_table(SqlSettings.model_validate(json.loads(sys.argv[1])))
def peak():  # getrusage would tell that of the parent, too
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
source.identity()
before = peak()
began = time.perf_counter()
files = source.scan().files
took = time.perf_counter() - began
print(f"{len(files):,} rows listed in {took:.2f} s, {peak() - before:.0f} MB more", end="")
"""
WORDS = ("quay", "lantern", "compass", "anchor", "rudder", "keel", "harbour", "tide")


def main() -> None:
    import json

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--edits", type=int, default=20)
    parser.add_argument("--model", default="fake-384")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="instep-bench-") as root:
        for database, url in databases(Path(root)):
            settings = {"kind": "sql", "url": url, "key": "id", "title": "name", "body": "body"}
            engine = create_engine(_driven(url), poolclass=NullPool)
            fill(engine, "many", args.rows)
            for watermark in (None, "edited"):
                given = json.dumps(settings | {"table": "many", "watermark": watermark})
                print(f"{database}, {'with' if watermark else 'without'} a watermark: ", end="")
                sys.stdout.flush()
                environment = {**os.environ, "PYTHONPATH": str(ROOT)}
                subprocess.run([sys.executable, "-c", LIST, given], env=environment, check=True)
                print()
            fill(engine, "few", 200)
            place = Path(root) / database
            (place / "data").mkdir(parents=True)
            given = settings | {"table": "few", "watermark": "edited"}
            lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in given.items())
            (place / "instep.toml").write_text(f"[sources.few]\n{lines}\n")
            instep = Instep(
                place / "data",
                INSTEP_EMBEDDING__MODEL=args.model,
                INSTEP_CONFIG=str(place / "instep.toml"),
            )
            with instep.up():
                took = edits(engine, instep.gateway(), args.edits)
            print(f"{database}, an edit until it is found, by watermark: {spread(took)} ms")


def databases(root: Path) -> Iterator[tuple[str, str]]:
    yield "sqlite", f"sqlite:///{root}/rows.db"
    import postgres_server

    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(postgres_server.running(root))
        except BaseException as absent:  # a test is skipped by an exception of its own base class
            if type(absent).__name__ != "Skipped":
                raise
            print(f"without Postgres: {absent}")
            return
        yield "postgres", server.url


def fill(engine: Engine, table: str, count: int) -> None:
    chance = random.Random(7)
    rows = [
        {"id": n, "name": f"Note {n}", "body": " ".join(chance.choices(WORDS, k=80))}
        for n in range(count)
    ]
    with engine.begin() as connection:
        connection.execute(
            text(
                f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, name TEXT, body TEXT,"
                " edited INTEGER DEFAULT 1)"
            )
        )
        connection.execute(text(f"CREATE INDEX {table}_edited ON {table} (edited)"))
        insert = f"INSERT INTO {table} (id, name, body) VALUES (:id, :name, :body)"
        connection.execute(text(insert), rows)


def edits(engine: Engine, gateway: str, count: int) -> list[float]:
    chance, asker, took = random.Random(5), Asker(gateway), []
    for n in range(count):
        row, word = chance.randrange(200), f"quux{n}zyx{chance.randrange(10**6)}"
        update = text("UPDATE few SET body = body || :more, edited = :n WHERE id = :id")
        time.sleep(chance.random() * 2)
        began = time.perf_counter()
        with engine.begin() as connection:
            connection.execute(update, {"more": f"\n{word} is new here.", "n": n + 2, "id": row})
        wait_until(lambda row=row, word=word: asker.finds(word, str(row)), 60, every_s=0.015)
        took.append((time.perf_counter() - began) * 1000)
    return took


def _driven(url: str) -> str:
    of_postgres = make_url(url).drivername == "postgresql"
    return url.replace("postgresql:", "postgresql+psycopg:", 1) if of_postgres else url


if __name__ == "__main__":
    main()
