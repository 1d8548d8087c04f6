"""A bucket as a source: how long a listing takes, and an edit until a search finds it.

    INSTEP_TEST_S3_SERVER=/path/to/versitygw python bench/bucket.py [--objects 100000] [--edits 25]

The S3 server is versitygw over a folder of this machine. The listing is that of the producer's own
adapter, in a process of its own. Edits go to one bucket of 200 documents, first while the server
publishes events to the bus, then without, at any moment between two listings; --model fake-384
leaves the encoding out. All of it takes two to three minutes on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edit import Asker
from harness import Instep, corpus, spread, wait_until

ROOT = Path(__file__).parent.parent
POLL_S = 2.0
"""The default of `poll`."""
sys.path.insert(0, str(ROOT / "tests" / "support"))

LIST = """
import resource, sys, time
from services.producer.sources.bucket.bucket import open_bucket
from services.producer.sources.rules import Rules
source = open_bucket(sys.argv[1], Rules(), max_bytes=10**8, endpoint=None, region=None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.perf_counter()
files = source.scan().files
took = time.perf_counter() - began
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(f"{len(files):,} objects listed in {took:.2f} s, {grown:.0f} MB more")
"""


def main() -> None:
    import obstore
    import s3_server

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--edits", type=int, default=25, help="with events, and without")
    parser.add_argument("--model", default="fake-384")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="instep-bench-") as root:
        place = Path(root)
        with s3_server.running(place / "many") as server:
            listing(server, args.objects)
        corpus(place / "docs", 200)
        data = place / "data"
        for events in (True, False):
            server = s3_server.S3Server(s3_server.executable(), place / f"s3-{events}")
            server.start()
            try:
                client = server.bucket("docs")
                for file in (place / "docs").rglob("*.md"):
                    name = file.relative_to(place / "docs").as_posix()
                    obstore.put(client, name, file.read_bytes())
                environment = {**server.environment, "INSTEP_EMBEDDING__MODEL": args.model}
                instep = Instep(data / str(events), **environment)
                (data / str(events)).mkdir(parents=True)
                with instep.up("s3://docs"):
                    if events:
                        server.stop()
                        server.nats, server.topic = instep.nats(), "instep.sources.changed.docs"
                        server.start()
                    took = edits(client, instep.gateway(), args.edits, 0 if events else POLL_S)
                how = "with events" if events else f"by listing every {POLL_S:.0f} s"
                print(f"{how}: {spread(took)}")
            finally:
                server.stop()


def listing(server, count: int) -> None:
    for n in range(count):
        file = server.data / "many" / f"d{n // 1000}" / f"{n}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    environment = {**os.environ, **server.environment, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", LIST, "s3://many"], env=environment, check=True)


def edits(client, gateway: str, count: int, every_s: float) -> list[float]:
    """Milliseconds of each edit.

    Args:
        every_s: the interval of listings; the edits are spread over it.
    """
    import obstore

    chance, asker, took = random.Random(5), Asker(gateway), []
    names = sorted(meta["path"] for page in obstore.list(client) for meta in page)
    for n in range(count):
        name, word = chance.choice(names), f"quux{n}zyx{chance.randrange(10**6)}"
        text = bytes(obstore.get(client, name).bytes()).decode()
        began = time.perf_counter()
        obstore.put(client, name, f"{text}\n{word} is new here.\n".encode())
        wait_until(lambda name=name, word=word: asker.finds(word, name), 60, every_s=0.015)
        took.append((time.perf_counter() - began) * 1000)
        time.sleep(chance.uniform(0, every_s) or 0.3)
    return took


if __name__ == "__main__":
    main()
