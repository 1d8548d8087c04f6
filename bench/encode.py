"""How fast, how near and how polite the encoders are; prints ratios.

    python bench/encode.py [--corpus FOLDER_OR_TAR] [--texts 160] [--rounds 3] [--threads 0]

Every variant encodes the same texts once a round, all variants in turn, so that a busy machine
slows all alike; the ratio is the median over rounds. CPU time is the steadier of the two.
`st-b32` is `SentenceTransformer.encode(texts, batch_size=32)` in float32, as it comes.
"""

import argparse
import asyncio
import gc
import statistics
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from shared.encoders.batching import padded, plan_batches
from shared.encoders.coalesce import CoalescingEncoder
from shared.encoders.local import cpu, files
from shared.encoders.local.backend import Backend
from shared.encoders.registry import load_backend
from shared.settings import Embedding

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from thread_device import ThreadDevice

Run = Callable[[], object]
DOCS = Path(__file__).parents[1] / "examples" / "docs"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, default=DOCS)
    parser.add_argument("--texts", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--max-tokens", type=int, default=1024)
    options = parser.parse_args()
    texts = chunks(options.corpus, options.texts)
    backends = load(options.threads)
    lengths = [len(tokens) for tokens in backends["f32"].tokenize(texts)]
    print(f"{len(texts)} texts, {sum(lengths)} tokens")
    show_padding(lengths)
    show_speed(texts, backends, options)
    show_accuracy(texts, backends, options.max_tokens)
    show_latency(texts, backends)
    for name, backend in backends.items():
        asyncio.run(show_loop(name, backend, texts, options.max_tokens))
    return 0


def chunks(corpus: Path, number: int) -> list[str]:
    """Pieces of 800 characters, evenly spread over the corpus."""
    found = [
        text[start : start + 800]
        for text in read(corpus)
        for start in range(0, len(text), 700)
        if text[start : start + 800].strip()
    ]
    number = min(number, len(found))
    return [found[i * len(found) // number] for i in range(number)]


def read(corpus: Path) -> Iterator[str]:
    if corpus.is_dir():
        for path in sorted(corpus.rglob("*.md")):
            yield path.read_text(encoding="utf-8")
        return
    with tarfile.open(corpus) as tar:
        for member in sorted(tar.getmembers(), key=lambda member: member.name):
            if member.name.endswith(".md") and (file := tar.extractfile(member)):
                yield file.read().decode()


def load(threads: int) -> dict[str, Backend]:
    numerics = ["f32"]
    if cpu.flags() & cpu.INT8_FLAGS:
        numerics.append("int8")
    else:
        print("int8 is left out: this CPU has no avx512_vnni")
    loaded = {}
    for numeric in numerics:
        started = time.perf_counter()
        settings = {"numeric": numeric, "threads": threads, "backend": "openvino"}
        loaded[numeric] = load_backend(Embedding.model_validate(settings))
        print(f"{numeric}: loaded in {time.perf_counter() - started:.2f} s")
    return loaded


def encode(backend: Backend, texts: list[str], max_tokens: int) -> np.ndarray:
    tokens = backend.tokenize(texts)
    vectors = np.empty((len(texts), backend.dimensions), np.float32)
    for batch in plan_batches([len(t) for t in tokens], max_tokens=max_tokens, max_items=64):
        vectors[batch] = backend.run([tokens[i] for i in batch])
    return vectors


def show_padding(lengths: list[int]) -> None:
    shares = []
    for budget in (1024, 2048, 4096):
        plan = plan_batches(lengths, max_tokens=budget, max_items=64)
        computed = sum(len(batch) * padded(max(lengths[i] for i in batch)) for batch in plan)
        shares.append(f"{budget}: {computed / sum(lengths) - 1:.1%}")
    print("padding by max_tokens, all texts in one plan   " + "   ".join(shares))


def show_speed(texts: list[str], backends: dict[str, Backend], options: argparse.Namespace) -> None:
    runs: dict[str, Run] = {}
    if find_spec("sentence_transformers"):
        runs["st-b32"] = sentence_transformers(texts, options.threads)
    else:
        print("st-b32 is left out: sentence-transformers is not installed")
    for name, backend in backends.items():
        runs[name] = lambda backend=backend: encode(backend, texts, options.max_tokens)
    seconds = in_turns(runs, options.rounds)
    first = next(iter(runs))
    for name, taken in seconds.items():
        ratios = [
            statistics.median(
                base[kind] / own[kind] for base, own in zip(seconds[first], taken, strict=True)
            )
            for kind in (0, 1)
        ]
        spread = sorted(base[0] / own[0] for base, own in zip(seconds[first], taken, strict=True))
        best = len(texts) / min(wall for wall, _ in taken)
        print(
            f"{name:7} wall x {ratios[0]:.2f} ({spread[0]:.2f} to {spread[-1]:.2f})   "
            f"cpu x {ratios[1]:.2f}   best {best:.1f} texts/s   rounds {len(taken)}"
        )


def sentence_transformers(texts: list[str], threads: int) -> Run:
    import torch
    from sentence_transformers import SentenceTransformer

    if threads:
        torch.set_num_threads(threads)
    model = SentenceTransformer(str(files.packaged_folder()), device="cpu")
    return lambda: model.encode(texts, batch_size=32, show_progress_bar=False)


def in_turns(runs: dict[str, Run], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds of every round, after one round that is not counted."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            gc.collect()
            wall, processor = time.perf_counter(), time.process_time()
            run()
            taken = time.perf_counter() - wall, time.process_time() - processor
            if turn:
                seconds[name].append(taken)
    return seconds


def show_accuracy(texts: list[str], backends: dict[str, Backend], max_tokens: int) -> None:
    if "int8" not in backends:
        return
    exact, near = (encode(backends[name], texts, max_tokens) for name in ("f32", "int8"))
    cosine = (exact * near).sum(axis=1)
    top = [neighbours(exact, exact), neighbours(near, near), neighbours(near, exact)]
    print(
        f"int8 against f32   cosine min {cosine.min():.4f} mean {cosine.mean():.5f}   "
        f"top-10 overlap {overlap(top[0], top[1]):.3f}, "
        f"int8 queries on f32 rows {overlap(top[0], top[2]):.3f}"
    )


def neighbours(queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    similar = queries @ rows.T
    np.fill_diagonal(similar, -2)
    return np.argsort(-similar, axis=1)[:, :10]


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    shared = [len(set(a) & set(b)) / len(a) for a, b in zip(one, other, strict=True)]
    return statistics.mean(shared)


def show_latency(texts: list[str], backends: dict[str, Backend]) -> None:
    """One text, tokenised and encoded: what an edit waits for."""
    tokens = sorted(texts, key=len)
    chosen = {"shortest": tokens[0], "median": tokens[len(tokens) // 2]}
    for name, backend in backends.items():
        found = []
        for label, text in chosen.items():
            taken = []
            for _ in range(25):
                started = time.perf_counter()
                backend.run(backend.tokenize([text]))
                taken.append((time.perf_counter() - started) * 1000)
            size = len(backend.tokenize([text])[0])
            middle = statistics.median(taken[1:])
            found.append(
                f"{label} ({size} tokens) p50 {middle:.1f} ms, best {min(taken):.1f}, "
                f"first {taken[0]:.1f}"
            )
        print(f"{name:7} lone text   " + "   ".join(found))


async def show_loop(name: str, backend: Backend, texts: list[str], max_tokens: int) -> None:
    """Many callers through the coalescing encoder, and how late the event loop is meanwhile."""
    idle = await lag(asyncio.sleep(1.0))
    encoder = CoalescingEncoder(ThreadDevice(backend), max_tokens=max_tokens)
    async with encoder:
        jobs = [encoder.encode(job) for job in eights(texts)]
        started = time.perf_counter()
        busy = await lag(asyncio.gather(*jobs))
        wall = time.perf_counter() - started
    counters = encoder.counters
    print(
        f"{name:7} through the coalescer   {len(texts) / wall:.1f} texts/s   "
        f"device busy {counters.busy_s / wall:.0%}   "
        f"padding {counters.padded_tokens / counters.tokens - 1:.1%}   "
        f"loop lag ms p50/p99 {busy[0]:.2f}/{busy[1]:.2f} (idle {idle[0]:.2f}/{idle[1]:.2f})"
    )


def eights(texts: list[str]) -> Iterator[list[str]]:
    yield from (texts[i : i + 8] for i in range(0, len(texts), 8))


async def lag(work: object) -> tuple[float, float]:
    """Median and 99th percentile of how late a timer of 2 ms fires while `work` goes on."""
    late: list[float] = []

    async def watch() -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0.002)
            late.append((time.perf_counter() - started - 0.002) * 1000)

    watcher = asyncio.create_task(watch())
    await work  # type: ignore[misc]  # a future or a coroutine
    watcher.cancel()
    return float(np.percentile(late, 50)), float(np.percentile(late, 99))


if __name__ == "__main__":
    sys.exit(main())
