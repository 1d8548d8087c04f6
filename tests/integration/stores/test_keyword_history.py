"""Keyword scores depend on the rows that are there, not on how they came to be there."""

import random

import numpy as np
import pytest

from shared.ports import Filter, Row
from shared.stores.lance import table as lance_table
from shared.stores.lance.store import LanceStore

pytestmark = [pytest.mark.stores]

DIMENSIONS = 4
WORDS = [f"term{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(300)]
QUESTIONS = ["termaa termbc", "termad", "termac termba termcc", "termeb termab"]


def row(n: int, text: str) -> Row:
    vector = np.random.default_rng(n).normal(size=DIMENSIONS).astype(np.float32)
    return Row(f"row-{n:06}", f"doc-{n}", "notes", "a.md", 1, "c", "", (), text, {}, vector)


async def answers(store: LanceStore) -> list[list[tuple[str, float]]]:
    found = [await store.search_text(q, limit=10, where=Filter()) for q in QUESTIONS]
    return [
        sorted(((hit.id, hit.score) for hit in hits), key=lambda x: (-x[1], x[0])) for hits in found
    ]


async def test_scores_after_many_edits_are_those_of_a_first_build(tmp_path, monkeypatch):
    monkeypatch.setattr(lance_table, "IDLE_S", 0.0)
    monkeypatch.setattr(lance_table, "SHARE", 0)
    chance = random.Random(7)
    weights = [1 / (n + 1) for n in range(len(WORDS))]

    def text() -> str:
        return " ".join(chance.choices(WORDS, weights, k=chance.randint(20, 120)))

    edited = await LanceStore.open(tmp_path / "edited", table="chunks", dimensions=DIMENSIONS)
    rows = {n: row(n, text()) for n in range(60)}
    await edited.upsert(list(rows.values()))
    for n in range(60, 85):
        gone = chance.choice(list(rows))
        await edited.delete([rows.pop(gone).id])
        rows[n] = row(n, text())
        await edited.upsert([rows[n]])
        if n % 8 == 3:
            await edited.maintain()
    await edited.maintain()
    first = await LanceStore.open(tmp_path / "first", table="chunks", dimensions=DIMENSIONS)
    await first.upsert(list(rows.values()))
    await first.maintain()

    after, fresh = await answers(edited), await answers(first)

    assert [[key for key, _ in hits] for hits in after] == [
        [key for key, _ in hits] for hits in fresh
    ]
    for hits, others in zip(after, fresh, strict=True):
        assert [score for _, score in hits] == pytest.approx([s for _, s in others], rel=0.01)
    for store in (edited, first):
        await store.close()
