"""Static score, age and title in a score; equal documents as one; counts of what was found."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from services.cli.commands.search import weights_of
from services.cli.exits import Stop
from services.gateway.app import build_app
from services.gateway.models import SearchRequest
from services.gateway.search.groups import facets
from services.gateway.search.rank import Weights, fuse, weights_for, with_signal
from services.gateway.search.signals import READ_OF_TEXT, phrases, recency, title_matches
from shared.domain.ordering import Record, Settled
from shared.ports import Hit

NOW = datetime(2026, 11, 30, tzinfo=UTC).timestamp()
DAY = 86_400.0
POSITIVE = st.floats(0, 1e6)


def hit(name, *, score=0.5, title="", metadata=None, source="docs"):
    return Hit(
        id=name,
        doc_key=name,
        source=source,
        path=f"{name}.md",
        born=1,
        chunk_key=name,
        title=title,
        heading=(),
        text=name,
        score=score,
        metadata=metadata or {},
    )


def record(age_s, static_score=None):
    settled = Settled(1, "indexed", (), NOW - age_s, NOW, static_score=static_score)
    return Record("docs", "a.md", settled=settled)


@given(st.sampled_from(["vector", "keyword", "hybrid"]), POSITIVE, POSITIVE, POSITIVE, POSITIVE)
def test_weights_sum_to_1_and_a_mode_has_its_lists_only(mode, vector, static, recent, title):
    weights = weights_for(mode, Weights(vector, 1.0, static, recent, title))

    total = weights.vector + weights.keyword + weights.static + weights.recency + weights.title
    assert total == pytest.approx(1.0)
    assert mode == "hybrid" or not getattr(weights, {"vector": "keyword"}.get(mode, "vector"))
    assert weights.static * (vector + 1.0) == pytest.approx(
        static * (weights.vector + weights.keyword)
    )


@pytest.mark.parametrize(
    ("question", "text", "is_there"),
    [
        ("nats stream add", "Enter `nats stream add NAME` and", True),
        ("nats stream add", "NATS Streaming adds", False),
        ("nats stream add", "add a stream to nats", False),
        ("Connection refused: 127.0.0.1", "it said connection refused 127.0.0.1 and", True),
        ("nats", "nats", False),  # one word says nothing that the words do not say
        ("", "nats", False),
    ],
)
def test_a_chunk_with_the_words_of_the_question_one_after_the_other_is_told(
    question, text, is_there
):
    found = replace(hit("a"), text=text)

    assert phrases(question, [found]) == ({"a": 1.0} if is_there else {})


@pytest.mark.parametrize(("before", "is_there"), [(3_900, True), (READ_OF_TEXT, False)])
def test_only_the_beginning_of_a_text_is_read_for_the_phrase(before, is_there):
    found = replace(hit("a"), text="." * before + " nats stream add")

    assert phrases("nats stream add", [found]) == ({"a": 1.0} if is_there else {})


async def test_a_command_finds_the_page_first_that_has_it_as_it_is(index):
    await index.put("changes.md", ["stream add nats stream add stream nats"])
    await index.put("other.md", ["nats nats add add nats stream stream"])
    await index.put("walkthrough.md", ["enter nats stream add and a name, then read on"])

    answers = [
        await index.search(SearchRequest(q=q, mode="keyword", explain=True, weights=weights))
        for q in ("nats stream add", "stream")
        for weights in ({"phrase": 0.9}, {"phrase": 0.0})
    ]

    assert answers[0].hits[0].document.path != "other.md"
    assert {hit.document.path: hit.parts["phrase"].raw for hit in answers[0].hits} == {
        "changes.md": 1.0,
        "walkthrough.md": 1.0,
        "other.md": None,
    }
    assert all("phrase" not in hit.parts for one in answers[1:] for hit in one.hits)


def test_without_other_weights_a_score_is_what_it_was():
    assert weights_for("hybrid", Weights(0.6, 0.4)) == Weights(0.6, 0.4)
    assert weights_for("vector", Weights(0.0, 0.0)) == Weights(1.0, 0.0)
    with pytest.raises(ValueError, match="above 0"):
        weights_for("hybrid", Weights(0.0, 0.0, static=1.0))


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(-1e9, 1e9), max_size=6),
    st.floats(0, 1),
)
def test_the_parts_of_a_score_sum_to_it_with_any_signal(values, weight):
    ranked = fuse([hit(name, score=0.3) for name in "abcdef"], [], Weights(1 - weight, 0.0))

    found = with_signal(
        ranked, "static", values, top=max(values.values(), default=0), weight=weight
    )

    assert {item.hit.id for item in found} == set("abcdef")
    for item in found:
        assert item.score == pytest.approx(sum(part.adds for part in item.parts.values()), abs=1e-9)
        assert 0.0 <= item.score <= 1.0
    assert [item.score for item in found] == sorted((i.score for i in found), reverse=True)


def test_recency_halves_with_every_half_life():
    hits = [hit("a"), hit("b"), hit("c"), hit("d", metadata={"date": "2026-10-31"})]
    records = {"a": record(0), "b": record(30 * DAY), "c": record(60 * DAY), "d": record(0)}

    found = recency(hits, records, now=NOW, half_life_s=30 * DAY)

    assert found == pytest.approx({"a": 1.0, "b": 0.5, "c": 0.25, "d": 0.5})


@pytest.mark.parametrize("date", ["tomorrow", "2026-13-45", "20261031", "", 7, None, "0000-00-00"])
def test_a_date_that_is_none_leaves_the_last_change(date):
    found = recency(
        [hit("a", metadata={"date": date})], {"a": record(DAY)}, now=NOW, half_life_s=DAY
    )

    assert found == {"a": pytest.approx(0.5)}


def test_a_date_in_the_future_counts_as_now():
    assert recency([hit("a")], {"a": record(-9 * DAY)}, now=NOW, half_life_s=DAY) == {"a": 1.0}


def test_a_title_matches_by_the_words_of_the_question():
    hits = [hit("a", title="Rotating keys"), hit("b", title="Keys"), hit("c", title="Other")]

    assert title_matches("how do I rotate a key", hits) == {"a": 1.0, "b": 0.5, "c": 0.0}
    assert title_matches("?!", hits) == {}


def test_facets_count_documents_not_chunks():
    hits = [
        hit("a", metadata={"author": "Ada", "draft": True}),
        hit("a", metadata={"author": "Ada", "draft": True}),
        hit("b", metadata={"author": "Bob"}),
        hit("c", metadata={"author": "Bob"}, source="wiki"),
    ]

    assert facets(["author", "source", "draft", "folder", "none"], hits, {}) == {
        "author": {"Bob": 2, "Ada": 1},
        "source": {"docs": 2, "wiki": 1},
        "draft": {"true": 1},
        "folder": {"": 3},
        "none": {},
    }


@pytest.fixture
async def client(index):
    async with TestClient(TestServer(build_app(index.queries, index.commands))) as client:
        yield client


async def test_equal_documents_are_one_hit_that_names_its_copies(client, index):
    await index.put("a.md", ["the harbour lantern"])
    await index.put("copy/a.md", ["the harbour lantern"])
    await index.put("old/a.md", ["the harbour lantern"])
    await index.put("b.md", ["the harbour lantern", "and more"])

    body = {"q": "harbour lantern", "facets": ["folder"], "group_by": "content"}
    answer = await (await client.post("/api/v1/search", json=body)).json()
    each = await (await client.get("/api/v1/search?q=harbour+lantern")).json()
    chunks = await (await client.get("/api/v1/search?q=harbour+lantern&group_by=chunk")).json()

    by_path = {one["document"]["path"]: one for one in answer["hits"]}
    assert set(by_path) == {"a.md", "b.md"}
    assert by_path["a.md"]["copy_count"] == 2
    assert [one["path"] for one in by_path["a.md"]["copies"]] == ["copy/a.md", "old/a.md"]
    assert by_path["b.md"]["copy_count"] == 0
    assert answer["total"] == {"value": 2, "exact": True}
    assert answer["facets"] == {"folder": {"": 2, "copy/": 1, "old/": 1}}
    assert len(chunks["hits"]) == 5
    assert len(each["hits"]) == 4
    assert {one["copy_count"] for one in each["hits"]} == {0}


async def test_a_question_may_weigh_its_own_signals(client, index):
    await index.put("a.md", ["the harbour lantern"])
    await index.put("b.md", ["the harbour lantern there"], static_score=4.0)

    plain = await (await client.get("/api/v1/search?q=harbour+lantern&mode=keyword")).json()
    body = {"q": "harbour lantern", "weights": {"static": 9, "phrase": 0}, "explain": True}
    weighed = await (await client.post("/api/v1/search", json={**body, "mode": "keyword"})).json()

    assert plain["hits"][0]["document"]["path"] == "a.md"
    first = weighed["hits"][0]
    assert first["document"]["path"] == "b.md"
    assert first["parts"]["static"] == {"raw": 4.0, "normalised": 1.0, "weight": 0.9, "adds": 0.9}
    assert first["score"] == pytest.approx(sum(part["adds"] for part in first["parts"].values()))


async def test_a_weight_or_a_facet_that_cannot_be_is_refused(client):
    for body, said in (
        ({"weights": {"recent": 1}}, "weights"),
        ({"weights": {"static": -1}}, "weights.static"),
        ({"facets": ["f"] * 11}, "facets"),
    ):
        response = await client.post("/api/v1/search", json={"q": "x", **body})
        assert response.status == 422
        assert said in str(await response.json())


def test_weights_of_the_command_line():
    assert weights_of(["recency=0.3", "title=1"]) == {"recency": 0.3, "title": 1.0}
    with pytest.raises(Stop, match="'recency' is not a weight"):
        weights_of(["recency"])


async def test_static_scores_of_documents_that_are_not_shown_do_not_count(client, index):
    await index.put("a.md", ["the harbour lantern"], static_score=5.0)
    await index.put("b.md", ["the harbour lantern there"], source="wiki", static_score=1000.0)

    body = {"q": "harbour", "weights": {"static": 1}, "explain": True, "source": ["docs"]}
    answer = await (await client.post("/api/v1/search", json=body)).json()

    assert [one["document"]["path"] for one in answer["hits"]] == ["a.md"]
    assert answer["hits"][0]["parts"]["static"]["normalised"] == 1.0


async def test_an_answer_says_which_phrases_and_exclusions_it_has_read(client, index):
    await index.put("a.md", ["the signing key of the harbour"])

    body = {"q": '"signing key" harbour -draft -"old server"'}
    answer = await (await client.post("/api/v1/search", json=body)).json()

    assert (answer["phrases"], answer["excluded"]) == (["signing key"], ["old server", "draft"])


async def test_a_question_of_very_many_phrases_is_refused(client):
    question = " ".join(f'-"{n} a"' for n in range(40)) + " fox"

    response = await client.post("/api/v1/search", json={"q": question})

    assert response.status == 422
    assert "40 phrases and exclusions" in (await response.json())["detail"]


def test_the_folder_of_a_url_is_its_host():
    hits = [hit("a"), hit("b")]
    urls = [replace(one, path=f"https://host-{one.id}/x/y.html") for one in hits]

    assert facets(["folder"], urls, {}) == {"folder": {"host-a/": 1, "host-b/": 1}}


def test_each_keyword_of_a_list_is_counted():
    hits = [hit("a", metadata={"tags": "go, nats"}), hit("b", metadata={"tags": "nats,"})]

    assert facets(["tags"], hits, {"tags": "keywords"}) == {"tags": {"nats": 2, "go": 1}}
    assert facets(["tags"], hits, {}) == {"tags": {"go, nats": 1, "nats,": 1}}
