"""A reranker judges the best hits within its time, and nothing fails with it."""

import asyncio
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.gateway.models import SearchRequest
from services.gateway.problems import Problem
from services.gateway.search.rank import TICKS
from services.gateway.search.rerank import (
    MOST_CHARS,
    HttpReranker,
    RerankerUnavailable,
    request_body,
    scores_of,
)
from shared.settings import RerankSettings, SearchSettings

SCORES = st.lists(st.floats(-40, 40), min_size=1, max_size=30)


@given(SCORES, st.randoms(use_true_random=False))
def test_scores_are_those_of_the_texts_whatever_their_order_and_are_shares(scores, chance):
    rows = [{"index": n, "relevance_score": score} for n, score in enumerate(scores)]
    chance.shuffle(rows)

    found = scores_of(json.dumps({"results": rows}).encode(), len(scores))

    assert all(0 <= one <= 1 for one in found)
    order = sorted(range(len(scores)), key=lambda n: scores[n])
    assert [found[n] for n in order] == sorted(found)
    if all(0 <= one <= 1 for one in scores):
        assert found == scores


def test_the_interface_of_tei_is_a_bare_list():
    assert scores_of(b'[{"index": 1, "score": 0.5}, {"index": 0, "score": 0.25}]', 2) == [0.25, 0.5]


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"[]", b"null", b"{}", b'{"results": 5}', b"\xff", b"[" * 100_000),
        b'[{"index": 0, "score": 1}]',
        b'[{"index": 0, "score": 1}, {"index": 0, "score": 1}]',
        b'[{"index": 0, "score": 1}, {"index": 7, "score": 1}]',
        b'[{"index": 0, "score": 1}, {"index": 1, "score": NaN}]',
        b'[{"index": 0, "score": 1}, {"index": 1e999, "score": 1}]',
        b'[{"index": 0, "score": 1}, {"index": 1, "score": "high"}]',
    ],
)
def test_an_answer_without_one_score_for_each_text_is_none(answer):
    with pytest.raises(RerankerUnavailable):
        scores_of(answer, 2)


def test_texts_are_sent_as_the_server_reads_them_and_not_without_end():
    texts = ["a", "b" * 2 * MOST_CHARS]

    cohere = request_body("q", texts, "cohere", "reranker-v2")
    tei = request_body("q", texts, "tei", "")

    assert cohere == {
        **{"model": "reranker-v2", "query": "q", "top_n": 2},
        "documents": ["a", "b" * MOST_CHARS],
    }
    assert tei == {"query": "q", "texts": ["a", "b" * MOST_CHARS], "truncate": True}


class Server:
    """A reranker that likes texts with one word, and does what a test wants."""

    def __init__(self):
        self.asked, self.status, self.waits = [], 200, False

    async def rerank(self, request):
        self.asked.append((request.headers.get("Authorization"), await request.json()))
        if self.waits:
            await asyncio.sleep(3600)
        texts = self.asked[-1][1]["documents"]
        rows = [
            {"index": n, "relevance_score": 0.9 if "answer" in text else 0.1}
            for n, text in enumerate(texts)
        ]
        return web.json_response({"results": rows}, status=self.status)


@pytest.fixture
async def server():
    made = Server()
    app = web.Application()
    app.router.add_post("/v1/rerank", made.rerank)
    async with TestServer(app, shutdown_timeout=0.1) as running:
        made.url = str(running.make_url("/v1/rerank"))
        yield made


@pytest.fixture
async def reranked(index, server):
    """An index of two documents, the worse of which by words and vectors is the answer."""
    await index.put("near.md", ["harbour lantern harbour lantern"])
    await index.put("far.md", ["harbour lantern in a long text that is the answer to it"])
    settings = RerankSettings(url=server.url, budget=5.0)
    reranker = HttpReranker(settings, "secret-of-the-server")
    index.search.reranker = reranker
    index.search.defaults = SearchSettings(rerank=settings)
    yield index
    await reranker.close()


def paths(answer):
    return [hit.document.path for hit in answer.hits]


async def ask(index, **fields):
    return await index.search(SearchRequest(q="harbour lantern", explain=True, **fields))


async def test_the_best_hits_are_judged_anew_and_parts_sum_to_the_score(reranked, server):
    without = await ask(reranked, rerank=False)
    answer = await ask(reranked)

    assert (paths(without), without.reranked) == (["near.md", "far.md"], None)
    assert (paths(answer), answer.reranked) == (["far.md", "near.md"], True)
    key, body = server.asked[0]
    assert key == "Bearer secret-of-the-server"
    assert body["query"] == "harbour lantern"
    for hit in answer.hits:
        assert hit.parts["rerank"].weight == 0.7
        assert round(hit.score * TICKS) == sum(round(p.adds * TICKS) for p in hit.parts.values())


async def test_an_answer_does_not_wait_longer_than_its_budget_and_says_so(reranked, server):
    server.waits = True
    reranked.search.reranker = HttpReranker(RerankSettings(url=server.url, budget=0.05))

    answer = await ask(reranked)

    assert (paths(answer), answer.reranked) == (["near.md", "far.md"], False)
    assert all("rerank" not in hit.parts for hit in answer.hits)
    await reranked.search.reranker.close()


@pytest.mark.parametrize("status", [302, 401, 429, 500])
async def test_a_server_that_refuses_changes_nothing(reranked, server, status):
    server.status = status

    assert (await ask(reranked)).reranked is False


async def test_a_server_that_is_not_there_changes_nothing(reranked):
    reranked.search.reranker = HttpReranker(RerankSettings(url="http://127.0.0.1:1/rerank"))

    assert (await ask(reranked)).reranked is False
    await reranked.search.reranker.close()


@pytest.mark.parametrize(
    "address",
    [
        "http://user:hunter2@127.0.0.1/rerank",
        "http://hunter2@127.0.0.1/rerank",
        "https://127.0.0.1/rerank?key=hunter2",
        "https://127.0.0.1/rerank#hunter2",
        "https:///hunter2",
        "https://[hunter2]/rerank",
        "https://127.0.0.1:hunter2/rerank",
        "ftp://hunter2/rerank",
    ],
)
def test_an_address_with_a_secret_or_without_a_host_is_refused_and_not_repeated(address):
    with pytest.raises(ValidationError) as told:
        RerankSettings(url=address)

    (error,) = told.value.errors(include_input=False)
    assert error["msg"].startswith("Value error, must ")
    assert "hunter2" not in error["msg"]


async def test_what_is_told_of_a_server_is_its_host_and_port_only(server):
    server.status = 500
    address = f"{server.url.rpartition('/v1')[0]}/v1/rerank"
    settings = RerankSettings(url=address).model_copy(
        update={"url": address.replace("http://", "http://user:hunter2@")}
    )
    asked = HttpReranker(settings)

    with pytest.raises(RerankerUnavailable) as told:
        await asked("q", ["a"])

    host = address.split("/")[2]
    assert str(told.value) == f"{host} answers with status 500"
    await asked.close()


@pytest.mark.parametrize("address", ["http://user:pw@127.0.0.1:1/rerank", "http://127.0.0.1:1/r"])
async def test_a_request_that_cannot_be_made_is_no_answer(address):
    settings = RerankSettings(url="http://127.0.0.1:1/r").model_copy(update={"url": address})
    asked = HttpReranker(settings, "line\nbreak")

    with pytest.raises(RerankerUnavailable):
        await asked("q", ["a"])
    await asked.close()


async def test_a_question_without_hits_asks_no_reranker(reranked, server):
    answer = await reranked.search(SearchRequest(q="zebra", mode="keyword"))

    assert answer.hits == ()
    assert server.asked == []


async def test_a_reranker_that_is_wanted_and_not_there_is_told(index):
    with pytest.raises(Problem) as told:
        await ask(index, rerank=True)

    assert "search.rerank.url" in str(told.value)
