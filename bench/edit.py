"""Edit one paragraph of one file while `up` runs: texts encoded, and save to searchable.

    python bench/edit.py [--docs FOLDER] [--edits 60] [--beside 50] [--apart]
                         [--every 0.015] [--steps] [--weaviate [URL --grpc H:P]]

An edit replaces one paragraph by a new one with a word of its own. Searchable means that a keyword
search over HTTP returns the document by that word; it is asked every 15 ms, or with --every so
many seconds apart: an answer costs processor time, too. With --beside, other files are edited
meanwhile, so many a second; with --weaviate the index is on that server, or on one that is
started for it as for the tests (`tests/support/weaviate_server.py`); with --apart every service
is a process of its own, as with compose, instead of one `up`. With --steps nothing is asked while
an edit is under way: a tap on the bus hears when it passes each stage, and the figures are those
from the save to `documents.indexed`, whole and less the time in which the text was encoded.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import on_weaviate
from fleet import fleet
from harness import Instep, arguments, resident_mb, spread, wait_until, workplace
from tap import Tap, table, taken

from shared.domain.ids import doc_key

OWN = "own"
SERVICES = ("producer", "enricher", "embedder", "indexer", "validator", "gateway")


def paragraphs(text: str) -> list[int]:
    """Indexes of blocks of plain prose."""
    blocks = text.split("\n\n")
    inside, found = False, []
    for n, block in enumerate(blocks):
        inside ^= block.count("```") % 2 == 1
        plain = block.strip() and block.lstrip()[0].isalpha() and len(block) > 60
        if plain and not inside and "```" not in block and n > 0:
            found.append(n)
    return found


class Asker:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port)

    def get(self, path: str):
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        body = answer.read()
        return json.loads(body) if answer.status == 200 else {}

    def finds(self, word: str, path: str) -> bool:
        hits = self.get(f"/api/v1/search?mode=keyword&limit=3&q={word}").get("hits", [])
        return any(hit["document"]["path"] == path for hit in hits)

    def revision(self, path: str):
        return self.get(f"/api/v1/documents/{quote(path)}")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--edits", type=int, default=60)
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between edits")
    parser.add_argument("--every", type=float, default=0.015, help="seconds between two questions")
    parser.add_argument("--beside", type=float, default=0, help="other edits a second")
    parser.add_argument(
        "--weaviate", metavar="URL", nargs="?", const=OWN, help="keep the index on a server"
    )
    parser.add_argument("--grpc", metavar="H:P", help="of that server")
    parser.add_argument("--model", help="e.g. fake-384")
    parser.add_argument("--steps", action="store_true", help="where the time goes, by the bus")
    parser.add_argument("--apart", action="store_true", help="every service in its own process")
    args = parser.parse_args()
    chance = random.Random(5)
    took, encoded = [], Counter()
    with workplace(args.docs, args.count) as (docs, data), environment(args, data) as env:
        files = [f for f in sorted(docs.rglob("*.md")) if paragraphs(f.read_text())]
        others = [files.pop() for _ in range(len(files) // 2)] if args.beside else []
        running = apart(docs, data, env) if args.apart else together(docs, data, env)
        with running as (url, pids), editing(others, args.beside) as done:
            asker = Asker(url)
            if args.steps:
                steps(Instep(data).nats(), files, docs, args.edits, args.pause)
                return
            print(f"memory after the first pass: {memory_mb(pids):.0f} MB")
            for n in range(args.edits):
                file = chance.choice(files)
                word = f"quux{n}zyx{chance.randrange(10**6)}"
                took.append(edit(file, word, chance, asker, docs, args.every))
                shown = asker.revision(str(file.relative_to(docs)))
                encoded[shown["served"]["encoded"]] += 1
                time.sleep(args.pause)
                if n % 500 == 499:
                    print(f"memory after {n + 1} edits: {memory_mb(pids):.0f} MB")
            print(f"memory after {args.edits} edits: {memory_mb(pids):.0f} MB")
    print(f"save -> searchable, ms: {spread(took)}")
    if done:
        print(f"beside {len(done) / (done[-1] - done[0]):.1f} other edits a second")
    print(f"texts encoded per edit: {dict(sorted(encoded.items()))}")


def steps(bus: str, files: list[Path], docs: Path, edits: int, pause_s: float) -> None:
    """Edit, and print the time from the save to the announcement, by step."""
    chance, found = random.Random(5), []
    with Tap(bus) as tap:
        for n in range(edits):
            file = chance.choice(files)
            tap.follow(doc_key("docs", str(file.relative_to(docs))))
            began = time.perf_counter()
            replace_paragraph(file, f"quux{n}zyx{chance.randrange(10**6)}", chance)
            wait_until(lambda: "settled" in tap.times(), 30, 0.01)
            found.append(taken(began, tap.times()))
            time.sleep(pause_s)
    until_told = [{k: v for k, v in one.items() if k != "settled"} for one in found]
    print(table(until_told))
    whole = [1000 * sum(one.values()) for one in until_told]
    print(f"save -> documents.indexed, ms: {spread(whole)}")
    encoding = [1000 * one.get("ready", 0.0) for one in until_told]
    rest = [all_of - of for all_of, of in zip(whole, encoding, strict=True)]
    print(f"the same less encoding, ms: {spread(rest)}")


def memory_mb(pids: list[int]) -> float:
    return sum(resident_mb(pid) for pid in pids)


@contextmanager
def together(docs: Path, data: Path, env: dict[str, str]) -> Iterator[tuple[str, list[int]]]:
    """`instep up`, in step: the gateway's address, and its process."""
    instep = Instep(data, **env)
    with instep.up(docs) as process:
        yield instep.gateway(), [process.pid]


@contextmanager
def apart(docs: Path, data: Path, env: dict[str, str]) -> Iterator[tuple[str, list[int]]]:
    """The same with a process for every service."""
    source = {"INSTEP_SOURCES__DOCS__PATH": str(docs), "INSTEP_GATEWAY__PORT": "0"}
    with fleet(data, **env, **source) as made:
        for name in SERVICES:
            made.run(name)
        made.ready()
        url = made.services[-1].field("gateway_listening", "url")
        wait_until(lambda: Asker(url).get("/api/v1/status")["in_step"], 600)
        yield url, [service.process.pid for service in made.services]


@contextmanager
def environment(args, data: Path) -> Iterator[dict[str, str]]:
    model = {"INSTEP_EMBEDDING__MODEL": args.model} if args.model else {}
    if args.weaviate == OWN:
        with on_weaviate.weaviate(data.parent / "weaviate") as found:
            yield found | model
    else:
        yield (on_weaviate.settings(args.weaviate, args.grpc) if args.weaviate else {}) | model


@contextmanager
def editing(files: list[Path], rate: float) -> Iterator[list[float]]:
    """Edits of these files go on, `rate` a second; yields the moments of those that were made."""
    ended, done, chance = threading.Event(), [], random.Random(9)

    def run() -> None:
        due = time.monotonic()
        while not ended.is_set():
            file = chance.choice(files)
            blocks = file.read_text().split("\n\n")
            at = chance.choice(paragraphs(file.read_text()))
            blocks[at] = (
                f"Another paragraph, written anew as number {len(done)} of this run, is here."
            )
            file.write_text("\n\n".join(blocks))
            done.append(time.monotonic())
            due += 1 / rate
            ended.wait(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=run)
    if rate:
        thread.start()
    try:
        yield done
    finally:
        ended.set()
        if rate:
            thread.join()


def edit(
    file: Path, word: str, chance: random.Random, asker: Asker, docs: Path, every_s: float = 0.015
) -> float:
    """Milliseconds from the save to the first answer that holds the edit."""
    path, started = str(file.relative_to(docs)), time.perf_counter()
    replace_paragraph(file, word, chance)
    while not asker.finds(word, path):
        if time.perf_counter() - started > 30:
            raise SystemExit(f"{path}: not searchable within 30 s")
        time.sleep(every_s)
    return (time.perf_counter() - started) * 1000


def replace_paragraph(file: Path, word: str, chance: random.Random) -> None:
    """Save the file with one paragraph of prose anew, which names `word`."""
    blocks = file.read_text().split("\n\n")
    at = chance.choice(paragraphs("\n\n".join(blocks)))
    blocks[at] = f"This paragraph was written anew and names {word}, which nothing else does."
    file.write_text("\n\n".join(blocks))


if __name__ == "__main__":
    main()
