"""A table as a source: how long a listing takes, and an edit until a search finds it.

    python bench/table.py [--rows 100000] [--edits 15] [--on sqlite postgres mariadb]

The listing is that of the producer's own adapter, in a process of its own, with and without a
watermark. Edits go to a table of 200 rows, once with a watermark and once with change capture. For
that the bench publishes a recorded message of Debezium, with the key of the row, right after the
commit: the time until a real Debezium has read the log comes on top (`make cdc` measures it).
--model fake-384 leaves the encoding out. An edit that is not found within a minute is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nats
from edit import Asker
from harness import Instep, spread
from sqlalchemy import Engine, NullPool, create_engine, text

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


SUBJECT = "instep.sources.changed.few"
RECORDED = ROOT / "tests" / "golden" / "debezium" / "bare" / "updated.json"
WITHIN_S = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--edits", type=int, default=15)
    parser.add_argument("--model", default="fake-384")
    parser.add_argument("--on", nargs="+", default=["sqlite", "postgres"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="instep-bench-") as root:
        for database, url in databases(Path(root), args.on):
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
            followed(engine, place, settings | {"watermark": "edited"}, args, "by watermark")
            captured = {"changes": SUBJECT, "poll": "1 h", "rescan": "1 h"}
            how = "by change capture (recorded message, published after the commit)"
            followed(engine, place, settings | captured, args, how)


def followed(
    engine: Engine, place: Path, settings: dict[str, str], args: argparse.Namespace, how: str
) -> None:
    """Print how long edits take with these settings of the source."""
    data = place / ("captured" if "changes" in settings else "polled") / "data"
    data.mkdir(parents=True)
    lines = (f"{name} = {json.dumps(value)}" for name, value in settings.items())
    config = data.parent / "instep.toml"
    config.write_text('[sources.few]\ntable = "few"\n' + "\n".join(lines) + "\n")
    instep = Instep(data, INSTEP_EMBEDDING__MODEL=args.model, INSTEP_CONFIG=str(config))
    with instep.up(), asyncio.Runner() as runner:
        client = runner.run(nats.connect(instep.nats())) if "changes" in settings else None

        async def tell(row: int) -> None:
            if client is not None:
                message = json.loads(RECORDED.read_text())
                message["after"]["id"] = row
                await client.publish(SUBJECT, json.dumps(message).encode())
                await client.flush()

        took = edits(engine, instep.gateway(), args.edits, lambda row: runner.run(tell(row)))
        if client is not None:
            runner.run(client.close())
    late = args.edits - len(took)
    said = f"; {late} not within {WITHIN_S:.0f} s" if late else ""
    found = f"{spread(took)} ms" if took else "none"
    print(f"{place.name}, an edit until it is found, {how}: {found}{said}", flush=True)


def databases(root: Path, wanted: list[str]) -> Iterator[tuple[str, str]]:
    if "sqlite" in wanted:
        yield "sqlite", f"sqlite:///{root}/rows.db"
    import mariadb_server
    import postgres_server

    servers = {"postgres": lambda: postgres_server.running(root), "mariadb": mariadb_server.running}
    for name in [name for name in servers if name in wanted]:
        with contextlib.ExitStack() as stack:
            try:
                server = stack.enter_context(servers[name]())
            except BaseException as absent:  # a test is skipped by an exception of its own base
                if type(absent).__name__ != "Skipped":
                    raise
                print(f"without {name}: {absent}")
                continue
            yield name, server.url


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


def edits(engine: Engine, gateway: str, count: int, tell: Callable[[int], None]) -> list[float]:
    """Milliseconds from the commit until a search finds it, of the edits that it finds."""
    chance, asker, took = random.Random(5), Asker(gateway), []
    for n in range(count):
        row, word = chance.randrange(200), f"quux{n}zyx{chance.randrange(10**6)}"
        update = text("UPDATE few SET body = :body, edited = :n WHERE id = :id")
        time.sleep(chance.random() * 2)
        with engine.begin() as connection:
            values = {"body": f"{word} is new here.", "n": n + 2, "id": row}
            connection.execute(update, values)
        began = time.perf_counter()
        tell(row)
        while not (found := asker.finds(word, str(row))):
            if time.perf_counter() - began > WITHIN_S:
                break
            time.sleep(0.015)
        if found:
            took.append((time.perf_counter() - began) * 1000)
    return took


def _driven(url: str) -> str:
    from databases import with_driver

    return with_driver(url)


if __name__ == "__main__":
    main()
