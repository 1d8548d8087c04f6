"""The retriever in Haystack, before a running instance: alone, with filters, in a pipeline."""

from pathlib import Path

import pytest
from haystack import Pipeline
from haystack.components.builders import PromptBuilder
from haystack.utils import Secret
from haystack_integrations.components.retrievers.instep import InstepRetriever

from instep.client import Client, Refused, Unreachable

TEMPLATE = "{% for passage in documents %}{{ passage.content }}{% endfor %}"


def paths(found):
    return {one.meta["path"] for one in found["documents"]}


def test_a_passage_tells_where_it_stands(instep):
    (first, *_) = InstepRetriever(mode="keyword").run(query="rotated making")["documents"]

    known = Client().document("docs/keys.md")
    assert first.content.strip() == "A key is rotated by making the new one first."
    assert first.score == first.meta.pop("score")
    assert first.meta == {
        "source": "docs",
        "path": "keys.md",
        "title": "Keys",
        "heading": ["Keys", "Rotation"],
        "chunk": known.chunks[0].n,
        "revision": known.served.sequence,
        "stale": False,
    }


async def test_filters_of_the_framework_and_of_instep_count(instep):
    retriever = InstepRetriever(filters="-path:old/")
    wiki = {"field": "meta.source", "operator": "==", "value": "wiki"}
    others = {"operator": "NOT", "conditions": [wiki]}
    either = {
        "operator": "OR",
        "conditions": [wiki, {"field": "source", "operator": "in", "value": ["docs"]}],
    }

    assert paths(retriever.run(query="key")) == {"keys.md", "lamp.md", "gull.md"}
    assert paths(retriever.run(query="key", filters=wiki)) == {"gull.md"}
    assert paths(await retriever.run_async(query="key", filters=others)) == {
        "keys.md",
        "lamp.md",
        "old/keys.md",
    }
    assert len(paths(retriever.run(query="key", filters=either))) == 4
    assert len((await retriever.run_async(query="key", top_k=1))["documents"]) == 1
    assert paths(InstepRetriever(source=["wiki"]).run(query="key")) == {"gull.md"}
    with pytest.raises(ValueError, match="~"):
        retriever.run(query="key", filters=wiki | {"operator": "~"})


async def test_a_pipeline_asks_it_also_after_it_was_written_down(instep):
    made = Pipeline()
    made.add_component("retriever", InstepRetriever(top_k=1, mode="keyword"))
    made.add_component("prompt", PromptBuilder(TEMPLATE, required_variables="*"))
    made.connect("retriever.documents", "prompt.documents")
    again = Pipeline.loads(made.dumps())
    asked = {"retriever": {"query": "rotated making"}}

    for said in (made.run(asked), again.run(asked), await again.run_async(asked)):
        assert "making the new one first" in said["prompt"]["prompt"]


def test_a_key_is_written_down_by_its_name_only(monkeypatch):
    monkeypatch.setenv("KEY_OF_INSTEP", "hidden")
    made = InstepRetriever(key=Secret.from_env_var("KEY_OF_INSTEP"), source=["docs"], top_k=3)

    written = made.to_dict()
    again = InstepRetriever.from_dict(written)

    assert "hidden" not in str(written)
    assert (again.source, again.top_k) == (["docs"], 3)
    assert again.key.resolve_value() == "hidden"


async def test_errors_say_what_to_do(instep):
    with pytest.raises(Refused) as refused:
        InstepRetriever(filters="langage:en").run(query="key")
    with pytest.raises(Unreachable) as away:
        await InstepRetriever(url="http://127.0.0.1:9").run_async(query="key")

    assert refused.value.code == "invalid_filter"
    assert away.value.fix


def test_the_example_runs_from_its_own_folder(example):
    said = example(Path(__file__).parents[1])

    assert "making the new one first" in said
    assert "[keys.md]" in said
