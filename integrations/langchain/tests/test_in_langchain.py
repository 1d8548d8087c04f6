"""The retriever in LangChain, before a running instance: its standard tests, and a chain."""

from pathlib import Path

import pytest
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_instep import InstepRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests

from instep.client import Client, Refused, Unreachable


@pytest.mark.usefixtures("instep")
class TestStandard(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self):
        return InstepRetriever

    @property
    def retriever_constructor_params(self):
        return {}

    @property
    def retriever_query_example(self):
        return "how is a key rotated"


def test_a_passage_tells_where_it_stands(instep):
    first = InstepRetriever(mode="keyword").invoke("rotated making")[0]

    known = Client().document("docs/keys.md")
    score = first.metadata.pop("score")
    assert first.page_content.strip() == "A key is rotated by making the new one first."
    assert first.metadata == {
        "source": "docs",
        "path": "keys.md",
        "title": "Keys",
        "heading": ["Keys", "Rotation"],
        "chunk": known.chunks[0].n,
        "revision": known.served.sequence,
        "stale": False,
    }
    assert first.id
    assert score > 0


async def test_filters_and_sources_count_for_a_retriever_or_for_one_question(instep):
    retriever = InstepRetriever(k=9, filter="-path:old/")

    paths = {d.metadata["path"] for d in retriever.invoke("key")}
    old = {d.metadata["path"] for d in await retriever.ainvoke("key", filter="path:old/")}
    wiki = {d.metadata["path"] for d in await retriever.ainvoke("key", source=["wiki"])}
    one = retriever.invoke("key", k=1)

    assert paths == {"keys.md", "lamp.md", "gull.md"}
    assert (old, wiki, len(one)) == ({"old/keys.md"}, {"gull.md"}, 1)
    with pytest.raises(TypeError, match="limt"):
        retriever.invoke("key", limt=3)


def test_a_chain_asks_it(instep):
    prompt = ChatPromptTemplate.from_template("{context}\n\n{question}")
    chain = {"context": InstepRetriever(k=1), "question": RunnablePassthrough()} | prompt

    said = chain.invoke("rotated making").to_string()

    assert "making the new one first" in said


def test_errors_say_what_to_do(instep):
    with pytest.raises(Refused) as refused:
        InstepRetriever(filter="langage:en").invoke("key")
    with pytest.raises(Unreachable) as away:
        InstepRetriever(url="http://127.0.0.1:9").invoke("key")

    assert refused.value.code == "invalid_filter"
    assert away.value.fix
    assert "hidden" not in repr(InstepRetriever(key="hidden"))


def test_the_example_runs_from_its_own_folder(example):
    said = example(Path(__file__).parents[1])

    assert "keys.md" in said
    assert "making the new one first" in said
