"""Does the context line help, and which way of cutting? MRR@10 and nDCG@10 over own questions.

    .venv/bin/python bench/context.py FOLDER [--queries bench/data/nats-queries.jsonl]

FOLDER holds the 200 Markdown files that the questions were written for. Every chunk is encoded by
the packaged model; a document's rank is that of its best chunk. Ratios are what counts: the
questions are few, so differences below about 0.03 say nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from services.enricher.chunking.chunk import chunk, fit_title
from shared.domain.events import with_context
from shared.encoders.local.files import packaged_folder
from shared.encoders.local.minilm.openvino import OpenVinoEncoder
from shared.encoders.local.tokens import ModelTokenizer
from shared.encoders.models import MINILM
from shared.formats.extract import extract
from shared.settings import Chunking

BATCH = 16
CUTOFF = 10


def encode(encoder: OpenVinoEncoder, texts: list[str]) -> np.ndarray:
    """float32, shape (len(texts), 384); texts of about equal length share a call."""
    tokens = encoder.tokenize(texts)
    order = sorted(range(len(texts)), key=lambda n: len(tokens[n]))
    vectors = np.zeros((len(texts), MINILM.dimensions), np.float32)
    for start in range(0, len(order), BATCH):
        some = order[start : start + BATCH]
        vectors[some] = encoder.run([tokens[n] for n in some])
    return vectors


def cut(documents: dict[str, bytes], kind: str, context: bool, counter: ModelTokenizer):
    """Texts to embed, and the document of each."""
    texts, owners = [], []
    for path, data in documents.items():
        extracted = extract(data, path=path, media_type=None, title=None)
        settings = Chunking(kind=kind)
        title = fit_title(extracted.title, settings, counter)
        for one in chunk(extracted, settings, counter):
            texts.append(with_context(title, one.heading, one.text) if context else one.text)
            owners.append(path)
    return texts, owners


def judge(ranked: list[str], expected: list[str]) -> tuple[float, float]:
    """Reciprocal rank and nDCG of the first CUTOFF documents."""
    gains = [path in expected for path in ranked[:CUTOFF]]
    first = next((n for n, hit in enumerate(gains) if hit), None)
    dcg = sum(hit / math.log2(n + 2) for n, hit in enumerate(gains))
    best = sum(1 / math.log2(n + 2) for n in range(min(len(expected), CUTOFF)))
    return (1 / (first + 1) if first is not None else 0.0), dcg / best


def rank(scores: np.ndarray, owners: list[str]) -> list[str]:
    """Documents by their best chunk."""
    return list(dict.fromkeys(owners[n] for n in np.argsort(-scores, kind="stable")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--queries", type=Path, default=Path(__file__).parent / "data/nats-queries.jsonl"
    )
    given = parser.parse_args()
    queries = [json.loads(line) for line in given.queries.read_text().splitlines()]
    documents = {
        path.relative_to(given.folder).as_posix(): path.read_bytes()
        for path in sorted(given.folder.rglob("*.md"))
    }
    missing = {path for query in queries for path in query["expect"]} - documents.keys()
    if missing:
        sys.exit(f"the folder lacks {len(missing)} expected documents, e.g. {min(missing)}")
    folder = packaged_folder()
    counter = ModelTokenizer(folder / "tokenizer.json", window=MINILM.window)
    encoder = OpenVinoEncoder(folder)
    asked = encode(encoder, [query["q"] for query in queries])
    for kind in ("document", "recursive", "fixed"):
        for context in (True, False):
            texts, owners = cut(documents, kind, context, counter)
            scores = asked @ encode(encoder, texts).T
            found = [
                judge(rank(scores[n], owners), query["expect"]) for n, query in enumerate(queries)
            ]
            mrr, ndcg = np.mean(found, axis=0)
            row = {"kind": kind, "context": context, "chunks": len(texts)}
            row |= {"mrr@10": round(float(mrr), 4), "ndcg@10": round(float(ndcg), 4)}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
