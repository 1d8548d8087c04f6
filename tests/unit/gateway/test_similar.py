"""Documents that are similar to one, by the vectors that the store has."""

import pytest

from services.gateway.models import SimilarRequest
from services.gateway.problems import Problem
from services.gateway.search import similar as module
from services.gateway.search.similar import spread
from shared.domain.ordering import Reason


async def ask(index, name, **fields):
    return await index.queries.similar(SimilarRequest(name=name, **fields))


def paths(answer):
    return [hit.document.path for hit in answer.hits]


async def test_the_nearest_documents_come_first_and_never_itself_or_its_copies(index):
    texts = ["rotate the signing key", "keep the old key for a day"]
    await index.put("keys.md", texts)
    await index.put("copy.md", texts)
    await index.put("rotate.md", ["how to rotate a signing key"])
    await index.put("office.md", ["opening hours of the office"])
    await index.put("keys.md", ["rotate the signing key", "keep the old key"], source="wiki")
    encoded = list(index.encoder.texts)

    answer = await ask(index, "docs/keys.md")
    with_copies = await ask(index, "docs/keys.md", copies=True)

    found = [(hit.document.source, hit.document.path) for hit in answer.hits]
    assert found[0] == ("wiki", "keys.md")
    assert found[1] == ("docs", "rotate.md")
    assert ("docs", "copy.md") not in found
    assert ("docs", "keys.md") not in found
    assert "copy.md" in paths(with_copies)
    assert (answer.mode, answer.total.exact) == ("vector", True)
    assert index.encoder.texts == encoded  # nothing is encoded


async def test_it_is_limited_and_filtered_as_a_search_is(index):
    await index.put("a.md", ["zebra stripes"])
    for n in range(5):
        await index.put(f"g/{n}.md", [f"zebra stripes {n}"])
    await index.put("w.md", ["zebra stripes w"], source="wiki")

    assert len((await ask(index, "docs/a.md", limit=2)).hits) == 2
    assert paths(await ask(index, "docs/a.md", source=("wiki",))) == ["w.md"]
    assert set(paths(await ask(index, "docs/a.md", filter="-path:g/"))) == {"w.md"}
    with pytest.raises(Problem, match="not a filter"):
        await ask(index, "docs/a.md", filter="zebra")


async def test_others_are_found_behind_all_the_chunks_of_a_long_document(index, monkeypatch):
    monkeypatch.setattr(module, "DEPTH", 4)
    monkeypatch.setattr(module, "MOST_CHUNKS", 5)
    await index.put("long.md", [f"zebra stripes {n}" for n in range(40)])
    await index.put("other.md", ["opening hours"])

    answer = await ask(index, "docs/long.md", limit=1)

    assert paths(answer) == ["other.md"]


async def test_an_overtaken_row_of_another_document_is_not_shown(index):
    await index.put("a.md", ["zebra stripes"])
    await index.put("b.md", ["zebra stripes b"])
    await index.put("b.md", [])

    assert paths(await ask(index, "docs/a.md")) == []


async def test_a_document_that_is_not_searchable_says_so(index):
    await index.begin("new.md", ["zebra"])
    await index.put("empty.md", [], outcome="refused", reason=Reason("empty", "no text"))
    await index.put("off.md", ["zebra"], is_active=False)
    await index.put("gone.md", [])
    key, _ = await index.put("lost.md", ["zebra"])
    await index.store.delete((await index.store.ids({key: 2**53}))[key])

    told = {}
    for name in ("new", "empty", "off", "gone", "lost"):
        with pytest.raises(Problem) as problem:
            await ask(index, f"docs/{name}.md")
        told[name] = (problem.value.code, problem.value.detail.partition(": ")[0])
    assert told == {
        "new": ("not_searchable", "docs/new.md is working"),
        "empty": ("not_searchable", "docs/empty.md is refused"),
        "off": ("not_searchable", "docs/off.md is inactive"),
        "gone": ("not_searchable", "docs/gone.md is removed"),
        "lost": ("not_searchable", "the store has no vectors of docs/lost.md now"),
    }
    with pytest.raises(Problem, match="no document"):
        await ask(index, "docs/none.md")


@pytest.mark.parametrize(("count", "most"), [(0, 4), (3, 4), (4, 4), (9, 4), (1000, 7)])
def test_ids_are_spread_evenly(count, most):
    ids = [f"{n:04}" for n in range(count)]

    found = spread(ids, most)

    assert len(found) == len(set(found)) == min(count, most)
    assert found == sorted(found)
    assert found[:1] == ids[:1]
