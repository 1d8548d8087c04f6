"""The retriever in LlamaIndex before a running instance: alone, filtering, in a query engine."""

from pathlib import Path

import pytest
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeRelationship
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
from llama_index.retrievers.instep import InstepRetriever

from instep.client import Client, Refused, Unreachable


def paths(found):
    return {one.node.metadata["path"] for one in found}


def test_a_passage_tells_where_it_stands(instep):
    first = InstepRetriever(mode="keyword").retrieve("rotated making")[0]

    known = Client().document("docs/keys.md")
    assert first.node.get_content().strip() == "A key is rotated by making the new one first."
    assert first.score == first.node.metadata.pop("score")
    assert first.node.metadata == {
        "source": "docs",
        "path": "keys.md",
        "title": "Keys",
        "heading": ["Keys", "Rotation"],
        "chunk": known.chunks[0].n,
        "revision": known.served.sequence,
        "stale": False,
    }
    assert first.node.relationships[NodeRelationship.SOURCE].node_id == known.doc_key


async def test_filters_of_the_framework_and_of_instep_count(instep):
    wiki = MetadataFilter(key="source", value="wiki")
    none_of = MetadataFilters(
        filters=[wiki, MetadataFilter(key="source", value=["x"], operator=FilterOperator.IN)],
        condition=FilterCondition.NOT,
    )
    nested = MetadataFilters(filters=[none_of])
    other = MetadataFilter(key="source", value=["docs"], operator=FilterOperator.NIN)

    asked = {"similarity_top_k": 9}
    old = await InstepRetriever(filters="path:old/", **asked).aretrieve("key")

    assert paths(InstepRetriever(filters=nested, **asked).retrieve("key")) == {
        "keys.md",
        "lamp.md",
        "old/keys.md",
    }
    assert paths(
        await InstepRetriever(filters=MetadataFilters(filters=[other]), **asked).aretrieve("key")
    ) == {"gull.md"}
    assert paths(old) == {"old/keys.md"}
    assert paths(InstepRetriever(source=["wiki"]).retrieve("key")) == {"gull.md"}
    with pytest.raises(ValueError, match="text_match"):
        InstepRetriever(
            filters=MetadataFilters(
                filters=[MetadataFilter(key="a", value="b", operator=FilterOperator.TEXT_MATCH)]
            )
        )


async def test_a_query_engine_answers_by_it(instep):
    retriever = InstepRetriever(similarity_top_k=1, mode="keyword")
    engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())

    for answer in (engine.query("rotated making"), await engine.aquery("rotated making")):
        assert paths(answer.source_nodes) == {"keys.md"}
        assert "making the new one first" in answer.response
        assert "path: keys.md" in answer.response
        assert "revision" not in answer.response


async def test_errors_say_what_to_do(instep):
    with pytest.raises(Refused) as refused:
        InstepRetriever(filters="langage:en").retrieve("key")
    with pytest.raises(Unreachable) as away:
        await InstepRetriever(url="http://127.0.0.1:9").aretrieve("key")

    assert refused.value.code == "invalid_filter"
    assert away.value.fix


def test_the_example_runs_from_its_own_folder(example):
    said = example(Path(__file__).parents[1])

    assert "making the new one first" in said
    assert "docs/keys.md" in said
