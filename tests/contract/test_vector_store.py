"""What every vector store does, fakes and decorators included."""

import asyncio
import random
import string
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from filter_cases import FIELDS, VALUES, WHERE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_ledger import MemoryLedger
from pgvector_store import open_pgvector
from weaviate_store import open_patient

from services.indexer.index import Index
from shared.domain.errors import NotYetIndexed, StoreMismatch, VectorsRejected
from shared.domain.events import Batch, Document, EmbeddingsReady, PartRow
from shared.domain.filters.where import IsBetween, IsOneOf, NoneOf, admits
from shared.domain.ids import bucket_of, doc_key, mark_of, row_id
from shared.domain.ordering import Revision, revise
from shared.observe.progress import Progress
from shared.ports import Delivery, Digest, Filter, Holding, Probe, Row, Vector, VectorStore
from shared.stores.coalesce import CoalescingStore
from shared.stores.lance.store import LanceStore
from shared.stores.lance.table import MANY_COMMITS
from shared.stores.memory import MemoryStore
from shared.stores.sqlite.store import SqliteStore

DIMENSIONS = 8
EVERYWHERE = Filter()
ODD = [
    "o'brien",
    "''",
    "100%",
    "a_b",
    "back\\slash",
    "nul\0inside",
    '"quoted"',
    "new\nline",
    "漢字 ünï 🙂",
    "x; DROP TABLE--",
    "`tick`",
    " ",
]

DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
LAW = "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz"
PERSIAN = "می | خواهم کتاب | ها".replace(" | ", "\u200c")  # noqa: RUF001

Make = Callable[..., Awaitable[VectorStore]]


@pytest.fixture(
    params=[
        "memory",
        pytest.param("lance", marks=pytest.mark.stores),
        pytest.param("sqlite", marks=pytest.mark.stores),
        pytest.param("weaviate", marks=pytest.mark.stores),
        pytest.param("pgvector", marks=pytest.mark.stores),
        "coalescing_memory",
        pytest.param("coalescing_lance", marks=pytest.mark.stores),
        "express_memory",
    ]
)
async def make(request, tmp_path) -> AsyncIterator[Make]:
    if request.param == "weaviate":
        server = request.getfixturevalue("weaviate")
        async with open_patient(server) as make_patient:
            yield make_patient
        return
    if request.param == "pgvector":
        async with open_pgvector(request.getfixturevalue("postgres")) as make_pgvector:
            yield make_pgvector
        return
    opened: list[VectorStore] = []

    async def make(table: str = "chunks", dimensions: int = DIMENSIONS) -> VectorStore:
        store: VectorStore
        if request.param == "sqlite":
            store = await SqliteStore.open(tmp_path / "store", table=table, dimensions=dimensions)
        elif request.param.endswith("lance"):
            store = await LanceStore.open(tmp_path / "store", table=table, dimensions=dimensions)
        else:
            store = MemoryStore(dimensions)
        if request.param.startswith(("coalescing", "express")):
            store = CoalescingStore(store)
        opened.append(store)
        return store.express() if request.param.startswith("express") else store

    yield make
    for store in opened:
        await store.close()


@pytest.fixture
async def store(make: Make) -> VectorStore:
    return await make()


def unit(seed: int, dimensions: int = DIMENSIONS) -> Vector:
    vector = np.random.default_rng(seed).normal(size=dimensions).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def row(n: int = 0, **changes) -> Row:
    plain = Row(
        id=f"row-{n:06}",
        doc_key="doc",
        source="notes",
        path="guide/start.md",
        born=1,
        chunk_key=f"chunk-{n}",
        title="A title",
        heading=("One", "Two"),
        text=f"the text number{n}",
        metadata={"lang": "en", "n": n, "draft": False, "score": 0.5, "none": None},
        vector=unit(n),
    )
    return replace(plain, **changes)


async def held(store: VectorStore, doc_key: str = "doc", born: int = 2**53) -> set[str]:
    return set((await store.ids({doc_key: born}))[doc_key])


# -- writing ---------------------------------------------------------------------------------------


async def test_a_row_comes_back_as_it_was_written(store):
    written = row(3)
    await store.upsert([written])

    (hit,) = await store.search(written.vector, limit=1, where=EVERYWHERE)

    assert hit.score == pytest.approx(1.0, abs=1e-5)
    for name in ("id", "doc_key", "source", "path", "born", "chunk_key", "title", "heading"):
        assert getattr(hit, name) == getattr(written, name)
    assert hit.text == written.text
    assert dict(hit.metadata) == dict(written.metadata)


async def test_rows_that_are_written_again_are_there_once_and_as_they_were(store):
    written = row(1)
    await store.upsert([written])
    before = await store.digests()
    await store.upsert([written])
    again = await store.digests()
    await store.upsert([written, row(2)])

    assert await store.count() == 2
    assert before == again
    found = await store.rows([written.id])
    assert found[written.id].text == written.text
    assert not await store.unsearchable([Probe(written.id, written.vector)])


async def test_an_id_twice_in_a_batch_makes_one_row(store):
    await store.upsert([row(1), row(2), row(1), row(1)])

    assert await store.count() == 2


async def test_concurrent_upserts_of_new_ids_make_one_row_each(store):
    rows = [row(n) for n in range(20)]
    await asyncio.gather(*(store.upsert(random.sample(rows, 20)) for _ in range(8)))

    assert await store.count() == 20
    assert len(await store.search_text("text", limit=100, where=EVERYWHERE)) == 20


@pytest.mark.parametrize(
    "bad",
    [
        np.full(DIMENSIONS, np.nan, np.float32),
        np.full(DIMENSIONS, np.inf, np.float32),
        np.zeros(DIMENSIONS, np.float32),
        np.ones(DIMENSIONS - 1, np.float32),
        np.ones(DIMENSIONS + 1, np.float32),
        np.ones((1, DIMENSIONS), np.float32),
    ],
    ids=["nan", "infinite", "zero", "short", "long", "nested"],
)
async def test_a_bad_vector_is_named_and_its_neighbours_are_written(store, bad):
    rows = [row(n, vector=bad if n == 41 else unit(n)) for n in range(100)]

    with pytest.raises(VectorsRejected) as raised:
        await store.upsert(rows)

    assert raised.value.ids == {"row-000041"}
    assert await held(store) == {r.id for r in rows} - {"row-000041"}


@pytest.mark.parametrize("size", [0, 1, 5000])
async def test_a_batch_may_have_any_size(store, size):
    rows = [row(n) for n in range(size)]
    random.shuffle(rows)
    await store.upsert(rows)

    assert await store.count() == size
    assert await held(store) == {r.id for r in rows}
    assert await store.unsearchable([Probe(r.id) for r in rows]) == frozenset()


async def test_deleting_what_is_absent_is_no_error(store):
    await store.upsert([row(1)])
    await store.delete(["ghost", "o'brien"])
    await store.delete([])

    assert await held(store) == {"row-000001"}


async def test_delete_touches_no_other_row(store):
    rows = [row(n, doc_key=f"doc-{n % 7}") for n in range(300)]
    await store.upsert(rows)
    gone = {r.id for r in rows[50:120]}
    await store.delete(gone)
    await store.delete(gone)

    found = await store.ids({f"doc-{n}": 2**53 for n in range(7)})

    assert set().union(*found.values()) == {r.id for r in rows} - gone
    assert await store.count() == 230


# -- reading ---------------------------------------------------------------------------------------


async def test_ids_lists_rows_up_to_the_given_birth(store):
    await store.upsert([row(n, born=n) for n in range(10)])
    await store.upsert([row(99, doc_key="other", born=3)])

    found = await store.ids({"doc": 4, "other": 2, "absent": 2**53})

    assert found == {
        "doc": {f"row-{n:06}" for n in range(5)},
        "other": frozenset(),
        "absent": frozenset(),
    }


async def test_births_up_to_the_largest_sequence_survive(store):
    await store.upsert([row(1, born=2**53 - 1)])

    assert await held(store, born=2**53 - 2) == set()
    assert await held(store, born=2**53 - 1) == {"row-000001"}


async def test_ids_of_many_documents_come_from_one_question(store):
    rows = [row(n, doc_key=f"doc-{n // 2}") for n in range(3000)]
    await store.upsert(rows)

    found = await store.ids({f"doc-{n}": 2**53 for n in range(2000)})

    assert len(found) == 2000
    assert found["doc-1499"] == {"row-002998", "row-002999"}
    assert found["doc-1500"] == frozenset()


async def test_ids_sees_every_acknowledged_upsert(store):
    async def write_and_look(n: int) -> bool:
        await store.upsert([row(n, doc_key=f"doc-{n}")])
        return await held(store, f"doc-{n}") == {f"row-{n:06}"}

    assert all(await asyncio.gather(*(write_and_look(n) for n in range(40))))


async def test_rows_shows_those_that_exist(store):
    await store.upsert([row(n) for n in range(5)])

    found = await store.rows(["row-000001", "row-000004", "ghost"])

    assert {key: (hit.text, hit.score) for key, hit in found.items()} == {
        "row-000001": ("the text number1", 0.0),
        "row-000004": ("the text number4", 0.0),
    }
    assert await store.rows([]) == {}


async def test_vectors_are_those_that_were_written_of_rows_that_exist(store):
    written = [row(n) for n in range(5)] + [row(9, id=odd) for odd in ODD]
    await store.upsert(written)
    wanted = [written[1], written[4], *written[5:]]

    found = await store.vectors([*(one.id for one in wanted), "ghost"])

    assert found.keys() == {one.id for one in wanted}
    for one in wanted:
        vector = found[one.id]
        assert (vector.dtype, vector.shape) == (np.float32, (DIMENSIONS,))
        np.testing.assert_allclose(vector, one.vector / np.linalg.norm(one.vector), atol=1e-6)
    assert await store.vectors([]) == {}


async def test_odd_characters_are_values_like_any_other(store):
    rows = [
        row(n, id=odd, doc_key=odd, source=odd, path=odd, text=odd, heading=(odd,), title=odd)
        for n, odd in enumerate(ODD)
    ]
    await store.upsert(rows)

    for wanted in rows:
        assert await held(store, wanted.id) == {wanted.id}
        assert (await store.rows([wanted.id]))[wanted.id].text == wanted.text
        where = Filter(sources=(wanted.source,), path_prefix=wanted.path)
        (hit,) = await store.search(wanted.vector, limit=5, where=where)
        assert (hit.id, hit.heading) == (wanted.id, (wanted.path,))
    await store.delete(ODD[:-1])

    assert await store.count() == 1


# -- searching -------------------------------------------------------------------------------------


async def test_the_nearest_rows_come_first(store):
    rows = [row(n) for n in range(200)]
    await store.upsert(rows)

    hits = await store.search(unit(17), limit=20, where=EVERYWHERE)

    exact = {r.id: float(r.vector @ unit(17)) for r in rows}
    assert [hit.id for hit in hits] == sorted(exact, key=exact.__getitem__, reverse=True)[:20]
    assert [hit.score for hit in hits] == pytest.approx([exact[hit.id] for hit in hits], abs=1e-5)


async def test_limits_at_the_edges(store):
    await store.upsert([row(n) for n in range(3)])

    for limit, expected in [(0, 0), (1, 1), (3, 3), (1000, 3)]:
        assert len(await store.search(unit(0), limit=limit, where=EVERYWHERE)) == expected
        assert len(await store.search_text("text", limit=limit, where=EVERYWHERE)) == expected


async def test_trying_how_soon_a_row_is_found_leaves_nothing_behind(store):
    await store.upsert([row(0)])
    lag_s = await store.lag_s()

    assert lag_s is None or lag_s > 0
    assert await store.count() == 1


async def test_an_empty_index_finds_nothing(store):
    assert await store.count() == 0
    assert await store.search(unit(0), limit=5, where=EVERYWHERE) == []
    assert await store.search_text("text", limit=5, where=EVERYWHERE) == []
    assert await store.unsearchable([Probe("a"), Probe("b", unit(1))]) == {"a", "b"}
    await store.maintain()


async def test_an_index_that_stays_is_the_same_whatever_happens_to_its_rows(store):
    before = await store.incarnation()
    await store.upsert([row(0)])
    await store.maintain()
    await store.delete([row(0).id])

    assert await store.incarnation() == before


async def test_a_filter_restricts_both_kinds_of_search(store):
    await store.upsert(
        [
            row(n, source=source, path=path)
            for n, (source, path) in enumerate(
                [
                    ("a", "x/1.md"),
                    ("a", "x%1.md"),
                    ("b", "x/2.md"),
                    ("b", "y/1.md"),
                    ("c", "X/1.md"),
                ]
            )
        ]
    )

    async def found(**where) -> list[set[int]]:
        filtered = Filter(**where)
        near = await store.search(unit(0), limit=10, where=filtered)
        words = await store.search_text("text", limit=10, where=filtered)
        return [{int(hit.chunk_key[6:]) for hit in hits} for hits in (near, words)]

    assert await found(sources=("a",)) == [{0, 1}] * 2
    assert await found(sources=("a", "c")) == [{0, 1, 4}] * 2
    assert await found(path_prefix="x/") == [{0, 2}] * 2
    assert await found(path_prefix="x%") == [{1}] * 2
    assert await found(path_prefix="") == [{0, 1, 2, 3, 4}] * 2
    assert await found(sources=("b",), path_prefix="x/") == [{2}] * 2
    assert await found(sources=()) == [set()] * 2
    assert await found(sources=("nobody",)) == [set()] * 2


async def test_keywords_are_found_in_title_heading_and_text(store):
    await store.upsert(
        [
            row(1, title="Aardvark"),
            row(2, heading=("Top", "Buffalo")),
            row(3, text="a chameleon sits here"),
        ]
    )

    for number, word in enumerate(["aardvark", "BUFFALO", "Chameleon"], start=1):
        (hit,) = await store.search_text(word, limit=5, where=EVERYWHERE)
        assert (hit.id, hit.score > 0) == (f"row-{number:06}", True)
    assert await store.search_text("dolphin", limit=5, where=EVERYWHERE) == []


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("Der Bürgermeister eröffnet", unicodedata.normalize("NFD", "Bürgermeister")),
        ("Die Donaudampfschifffahrt", "Donau\u00addampf\u200bschiff\u2060fahrt"),
        (PERSIAN, PERSIAN.split()[1]),
        (PERSIAN, PERSIAN.split()[1].replace("\u200c", " ")),
    ],
    ids=["decomposed", "soft hyphens", "a mark with a meaning", "a blank in its place"],
)
async def test_a_word_is_found_however_unicode_spells_the_question(store, text, question):
    await store.upsert([row(1, text=text), row(2, text="something else")])

    assert await found_by_words(store, question) == ["row-000001"]


async def test_the_row_with_more_of_the_query_comes_first(store):
    await store.upsert([row(n, text="river stone") for n in range(9)])
    await store.upsert([row(10, text="river stone lantern")])

    hits = await store.search_text("lantern river", limit=3, where=EVERYWHERE)

    assert hits[0].id == "row-000010"
    assert hits[0].score > hits[1].score


async def test_a_deleted_row_is_found_no_more(store):
    await store.upsert([row(1, text="zebra"), row(2, text="yak")])
    await store.delete(["row-000001"])

    assert await store.search_text("zebra", limit=5, where=EVERYWHERE) == []
    assert [h.id for h in await store.search(unit(1), limit=5, where=EVERYWHERE)] == ["row-000002"]
    assert await store.unsearchable([Probe("row-000001", unit(1))]) == {"row-000001"}


# -- whatever a person types -----------------------------------------------------------------------

SYNTAX = [
    '"walrus"',
    '"walrus',
    'walrus"',
    '"a" "walrus"',
    ' "walrus" ',
    "“walrus”",
    "'walrus'",
    "' OR 1=1; DROP TABLE chunks -- walrus",
    "+walrus -b",
    "-walrus",
    "NOT walrus",
    "a AND walrus",
    "walrus AND",
    "walrus OR",
    "text:walrus",
    "(walrus",
    "((walrus) AND (",
    "[a TO walrus]",
    "walrus^2",
    "walrus~2",
    '"walrus b"~2',
    "walrus*",
    "?walrus?",
    "/walrus/",
    "\\walrus\\",
    '\\"walrus\\"',
    "{walrus}",
    '{"phrase": {"terms": "walrus", "column": "words"}}',
    "\0walrus\0",
    "\ud800walrus\udfff",
    "\u202ewalrus\u200b",
    "🙂walrus👩\u200d👧",
    "walrus\n\r\t",
    "%s %(a)s ${a} walrus",
    "<b>walrus</b>",
    "a" * 1990 + " walrus",
    "walrus " * 250,
]
"""One plain word amid what query languages make something of."""
WORDLESS = [
    "",
    " ",
    '"',
    '""',
    '"" ""',
    "((",
    "\0",
    "\ud800",
    "-",
    "the",
    "^2~*?:\\",
    "+^~*?:\\",
    "x" * 5000,
    "🙂",
    string.punctuation,
    '"' * 2000,
    "(" * 2000,
]
NOISE = st.text(
    st.characters(categories=["P", "Z", "Sm", "Sc", "Sk", "Cc", "Cs"], include_characters="🙂")
)
"""All that is part of no word: marks, spaces, control characters, halves of characters."""
SEVERAL = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(params=["young", "kept up", "opened again"])
async def aged(request, make: Make) -> VectorStore:
    """A store of each age that a searcher meets; the row 0 alone has the word walrus."""
    store = await make()
    plain = {"title": "Stones", "heading": ("Pebbles",)}
    await store.upsert([row(0, text="walrus", **plain), row(1, text="gravel", **plain)])
    if request.param == "young":
        return store
    for n in range(2, MANY_COMMITS + 1):
        await store.upsert([row(n, text="gravel", **plain)])
    await store.maintain()
    if request.param == "opened again" and await store.incarnation() is not None:
        await store.close()
        return await make()
    return store


async def found_by_words(store: VectorStore, text: str) -> list[str]:
    return [hit.id for hit in await store.search_text(text, limit=5, where=EVERYWHERE)]


async def test_a_word_is_found_in_whatever_syntax_it_stands(aged):
    found = {question: await found_by_words(aged, question) for question in SYNTAX}

    assert found == {question: ["row-000000"] for question in SYNTAX}


async def test_a_question_without_a_word_finds_nothing_and_never_raises(aged):
    found = {question: await found_by_words(aged, question) for question in WORDLESS}

    assert found == {question: [] for question in WORDLESS}


@SEVERAL
@given(before=NOISE, after=NOISE)
async def test_a_word_is_found_between_whatever_is_no_word(aged, before, after):
    assert await found_by_words(aged, f"{before} walrus {after}") == ["row-000000"]


@SEVERAL
@given(text=st.text(st.characters(), max_size=2000))
async def test_no_question_raises(aged, text):
    assert set(await found_by_words(aged, text)) <= set(await held(aged))


HELD = {
    "node.js and max_payload stand in docs/keys.md": [
        "node.js",
        "nodejs",
        "max payload",
        "keys.md",
    ],
    "It says ERR-1043 when getUserName fails.": ["ERR-1043", "err1043", "getusername", "user name"],
    f"The commit {DIGEST} works.": [DIGEST, DIGEST.upper(), f'"{DIGEST}"'],
    f"Das {LAW} ist aufgehoben.": [LAW, LAW.upper()],
    f"An endless {'ab' * 3000}.": ["ab" * 3000],
    "每天凌晨三点自动备份数据库": ["备份", "自动备份数据库", "三"],
    "データベースは毎日バックアップされ": ["バックアップ", "毎日"],
    "ทุกวันสำรองข้อมูล": ["สำรอง"],
    "매일 문서를 저장합니다": ["문서"],
    "The Who played.": ["The Who", "who"],
    "IT department": ["IT", "it department"],
    "to be, or not to be": ["to be or not to be"],
    "C++, C# and .NET": ["C++", "C#", ".NET"],
    "Le résumé de la cité 👍": ["resume", "RÉSUMÉ", "👍"],
    "Базы данных": ["база"],
}
"""Texts of rows, and questions that each has to be the first hit of."""


async def test_the_same_words_are_found_in_every_store_of_every_age(make):
    store = await make()
    plain = {"title": "A page", "heading": ()}
    await store.upsert([row(n, text=text, **plain) for n, text in enumerate(HELD)])
    wanted = {
        question: [f"row-{n:06}"] for n, asked in enumerate(HELD.values()) for question in asked
    }

    assert await first_hits(store, wanted) == wanted

    for n in range(100, 100 + MANY_COMMITS):
        await store.upsert([row(n, text="gravel", **plain)])
    await store.maintain()
    assert await first_hits(store, wanted) == wanted

    if await store.incarnation() is not None:
        await store.close()
        store = await make()
        assert await first_hits(store, wanted) == wanted


async def first_hits(store: VectorStore, questions: Iterable[str]) -> dict[str, list[str]]:
    return {question: (await found_by_words(store, question))[:1] for question in questions}


HOSTILE = st.text(st.characters(), max_size=20) | st.sampled_from(
    [
        *ODD,
        "\ud800",
        "o'\udfff",
        "' OR '1'='1",
        "%",
        "_",
        "\\%",
        "*",
        "?",
        "x" * 2000,
        "🙂" * 2000,
        "",
    ]
)


@SEVERAL
@given(sources=st.none() | st.lists(HOSTILE, max_size=3).map(tuple), prefix=st.none() | HOSTILE)
async def test_a_filter_is_a_value_whatever_it_holds(aged, sources, prefix):
    where = Filter(sources=sources, path_prefix=prefix)
    admits = (sources is None or "notes" in sources) and "guide/start.md".startswith(prefix or "")

    near = await aged.search(unit(0), limit=1, where=where)
    words = await aged.search_text("walrus", limit=1, where=where)

    expected = ["row-000000"] if admits else []
    assert [[hit.id for hit in hits] for hits in (near, words)] == [expected] * 2


async def test_a_source_that_no_row_can_have_leaves_the_others_in_a_filter(aged):
    where = Filter(sources=("\ud800", "notes"), path_prefix="guide/")

    assert [hit.id for hit in await aged.search_text("walrus", limit=5, where=where)]
    assert [hit.id for hit in await aged.search(unit(0), limit=5, where=where)]


FILTERED = [
    {name: value}
    for n, value in enumerate(value for value in VALUES if value != "\ud800")
    for name in (FIELDS[n % len(FIELDS)], "lang")
] + [{}, dict.fromkeys(FIELDS, "en"), dict.fromkeys(FIELDS, 12)]
"""The metadata of rows: every value in the field lang, and in one of the others."""


@pytest.fixture
async def filterable(make: Make) -> VectorStore:
    """A store of rows with every kind of metadata; all have the word text."""
    store = await make()
    sources, paths = ("docs", "wiki"), ("a/b.md", "b.md", "a/b%.md")
    await store.upsert(
        [
            row(n, source=sources[n % 2], path=paths[n % 3], metadata=metadata)
            for n, metadata in enumerate(FILTERED)
        ]
    )
    return store


@SEVERAL
@given(where=WHERE)
async def test_a_filter_admits_the_rows_that_its_expression_does(filterable, where):
    asked = Filter(where=where)
    everything = await filterable.search(unit(0), limit=500, where=EVERYWHERE)
    expected = {hit.id for hit in everything if admits(where, hit.source, hit.path, hit.metadata)}

    near = await filterable.search(unit(0), limit=500, where=asked)
    words = await filterable.search_text("text", limit=500, where=asked)

    assert len(everything) == len(FILTERED)
    assert {hit.id for hit in near} == expected
    assert {hit.id for hit in words} == expected


async def test_few_rows_among_many_are_found_by_a_filter(store):
    """The farthest ones by vector, and the worst by words."""
    order = sorted(range(2_000), key=lambda n: -float(unit(n) @ unit(0)))
    rare = {f"row-{n:06}" for n in order[-5:]}
    rows = [row(n, metadata={"price": n, "lang": "en"}) for n in order]
    await store.upsert(
        [
            replace(
                one, metadata={"price": -1.5, "lang": "eo"}, text=f"{one.text} {'gravel ' * 99}"
            )
            if one.id in rare
            else one
            for one in rows
        ]
    )
    await store.maintain()

    for where in (
        IsOneOf("lang", "keyword", ("eo",)),
        IsBetween("price", "number", None, -1.0),
        NoneOf(IsOneOf("lang", "keyword", ("en", "de"))),
        NoneOf(IsBetween("price", "number", 0.0, None)),
    ):
        near = await store.search(unit(0), limit=5, where=Filter(where=where))
        words = await store.search_text("text", limit=5, where=Filter(where=where))
        assert {hit.id for hit in near} == rare
        assert {hit.id for hit in words} == rare


async def test_a_query_of_another_model_is_refused(store):
    await store.upsert([row(1)])

    with pytest.raises(StoreMismatch):
        await store.search(unit(1, DIMENSIONS + 1), limit=5, where=EVERYWHERE)


async def test_a_query_without_direction_finds_nothing(store):
    await store.upsert([row(1)])

    for vector in (np.zeros(DIMENSIONS, np.float32), np.full(DIMENSIONS, np.nan, np.float32)):
        assert await store.search(vector, limit=5, where=EVERYWHERE) == []


async def test_recall_is_that_of_an_exact_search(make):
    store = await make("recall", 32)
    rows = [row(n, vector=unit(n, 32)) for n in range(3000)]
    await store.upsert(rows)
    matrix = np.stack([r.vector for r in rows])

    found = 0
    for n in range(20):
        query = unit(100_000 + n, 32)
        exact = {rows[at].id for at in np.argsort(-(matrix @ query))[:10]}
        hits = await store.search(query, limit=10, where=EVERYWHERE)
        found += len(exact & {hit.id for hit in hits})

    assert found / 200 >= 0.95


# -- searchable ------------------------------------------------------------------------------------


async def test_written_rows_are_searchable(store):
    rows = [row(n) for n in range(50)]
    await store.upsert(rows)

    probes = [Probe(r.id, r.vector if n % 2 else None) for n, r in enumerate(rows)]

    assert await store.unsearchable(probes) == frozenset()
    assert await store.unsearchable([]) == frozenset()


async def test_absent_rows_are_named(store):
    rows = [row(n) for n in range(50)]
    await store.upsert(rows[:40])

    with_vectors = await store.unsearchable([Probe(r.id, r.vector) for r in rows])
    without = await store.unsearchable([Probe(r.id) for r in rows])

    assert with_vectors == without == {r.id for r in rows[40:]}


async def test_a_row_that_holds_another_vector_is_not_found_by_its_own(store):
    rows = [row(n) for n in range(50)]
    await store.upsert(rows)

    lost = await store.unsearchable(
        [Probe(r.id, r.vector) for r in rows[:30]] + [Probe("row-000031", unit(999))]
    )

    assert lost == {"row-000031"}


async def test_equal_texts_have_equal_vectors_and_are_all_searchable(store):
    rows = [row(n, vector=unit(1)) for n in range(30)]
    await store.upsert(rows)

    assert await store.unsearchable([Probe(r.id, r.vector) for r in rows]) == frozenset()


@pytest.mark.parametrize("alike", [2, 3, 5, 19])
async def test_a_few_rows_of_one_vector_are_all_searchable_beside_others(store, alike):
    same = [row(n, vector=unit(1)) for n in range(alike)]
    others = [row(n) for n in range(100, 120)]
    await store.upsert(same + others)
    absent = [Probe("row-000050", unit(1)), Probe("row-000051")]

    lost = await store.unsearchable(
        [Probe(r.id, r.vector) for r in same] + [Probe(r.id) for r in others] + absent
    )

    assert lost == {"row-000050", "row-000051"}


# -- sweeping --------------------------------------------------------------------------------------


def sealed(n: int, **changes) -> Row:
    """A row with an id of its own making, of the document `n // 3`."""
    path = f"{n // 3}.md"
    key = doc_key("notes", path)
    plain = row(n, doc_key=key, path=path, id=row_id(key, f"chunk-{n}", 1))
    return replace(plain, **changes)


def digests_of(rows: list[Row]) -> dict[str, Digest]:
    found: dict[str, Digest] = {}
    for each in rows:
        bucket = bucket_of(each.doc_key)
        found[bucket] = found.get(bucket, Digest()) + Digest(1, mark_of(each.id))
    return found


async def every_holding(store: VectorStore) -> dict[str, Holding]:
    return dict(await store.holdings(list(await store.digests())))


async def test_an_empty_store_has_no_digests_and_holds_nothing(store):
    assert await store.digests() == {}
    assert await store.holdings([]) == {}
    assert await store.holdings(["ab", "", "o'"]) == {}


async def test_digests_are_those_of_the_rows_that_were_written(store):
    rows = [sealed(n) for n in range(300)]
    await store.upsert(rows)

    assert await store.digests() == digests_of(rows)


@pytest.mark.parametrize("size", [1023, 1024, 1025, 2500])
async def test_digests_count_every_row_of_any_number_once(store, size):
    rows = [sealed(n) for n in range(size)]
    await store.upsert(rows)

    assert await store.digests() == digests_of(rows)


async def test_neither_order_nor_repetition_shows_in_digests(make):
    one, other = await make("one"), await make("other")
    rows = [sealed(n) for n in range(40)]
    await one.upsert(rows)
    for each in random.sample(rows, 40):
        await other.upsert([each, each])
    await other.upsert(rows)
    await other.maintain()

    assert await one.digests() == await other.digests() == digests_of(rows)


async def test_a_deletion_takes_rows_out_of_digests_and_holdings(store):
    rows = [sealed(n) for n in range(30)]
    await store.upsert(rows)
    await store.delete([r.id for r in rows[:3]] + [rows[4].id])

    assert await store.digests() == digests_of([rows[3], *rows[5:]])
    assert rows[0].doc_key not in await every_holding(store)
    assert (await every_holding(store))[rows[3].doc_key].ids == {rows[3].id, rows[5].id}

    await store.delete([r.id for r in rows])

    assert await store.digests() == {}


async def test_digests_during_writes_count_no_row_twice_and_no_written_row_less(store):
    before = [sealed(n) for n in range(100)]
    fresh = [sealed(n) for n in range(100, 120)]
    await store.upsert(before)

    async def write() -> None:
        for each in fresh:
            await store.upsert([each])

    writing = asyncio.create_task(write())
    counts = []
    while not writing.done():
        counts.append(sum(d.rows for d in (await store.digests()).values()))
        await asyncio.sleep(0)
    await writing

    assert counts == sorted(counts)
    assert all(100 <= count <= 120 for count in counts)
    assert await store.digests() == digests_of(before + fresh)


async def test_holdings_name_every_row_with_source_and_path(store):
    rows = [sealed(n) for n in range(9)]
    await store.upsert(rows)

    found = await store.holdings([bucket_of(r.doc_key) for r in rows])

    assert found == {
        rows[n].doc_key: Holding(
            rows[n].doc_key, "notes", f"{n // 3}.md", frozenset(r.id for r in rows[n : n + 3])
        )
        for n in (0, 3, 6)
    }


@pytest.mark.parametrize("asked", [1, 32, 33, 200])
async def test_holdings_of_other_buckets_are_not_returned(store, asked):
    rows = [sealed(n) for n in range(1200)]
    await store.upsert(rows)
    buckets = sorted(await store.digests())[:asked]

    found = await store.holdings(buckets)

    assert {bucket_of(key) for key in found} == set(buckets)
    assert frozenset().union(*(holding.ids for holding in found.values())) == {
        r.id for r in rows if bucket_of(r.doc_key) in buckets
    }


async def test_rows_of_any_shape_are_whole_when_they_are_read_again(store):
    rows = [sealed(n, text=odd, title=odd, heading=(odd, "")) for n, odd in enumerate(ODD)]
    rows += [
        sealed(100, heading=(), text="", title="", metadata={}),
        sealed(101, metadata={"z": 1, "a": "", "ü": "é", "float": 0.1, "large": 2**60}),
        sealed(102, text="long " * 20_000),
        sealed(103, born=2**53),
        sealed(104, vector=unit(104) * np.float32(7)),
    ]
    await store.upsert(rows)

    assert await store.digests() == digests_of(rows)
    assert not [h for h in (await every_holding(store)).values() if h.damaged]


async def test_rows_of_odd_documents_are_swept_like_any_other(store):
    rows = [row(n, doc_key=odd, id=sealed(n).id) for n, odd in enumerate([*ODD, "", "a", "é🙂x"])]
    await store.upsert(rows)

    assert await store.digests() == digests_of(rows)
    for each in rows:
        assert (await store.holdings([bucket_of(each.doc_key)]))[each.doc_key].ids == {each.id}


# -- together --------------------------------------------------------------------------------------


async def test_any_sequence_of_calls_leaves_what_a_plain_dictionary_would_hold(store):
    dice = random.Random(7)
    model: dict[str, Row] = {}
    for step in range(60):
        batch = [row(n, doc_key=f"doc-{n % 5}") for n in dice.sample(range(80), dice.randint(1, 9))]
        if dice.random() < 0.6:
            await store.upsert(batch)
            model = {r.id: r for r in batch} | model
        else:
            await store.delete([r.id for r in batch])
            model = {key: r for key, r in model.items() if key not in {b.id for b in batch}}
        if step % 20 == 10:
            await store.maintain()
        found = await store.ids({f"doc-{n}": 2**53 for n in range(5)})
        assert set().union(*found.values()) == model.keys()
        assert await store.count() == len(model)


async def test_maintenance_under_load_changes_no_row(store):
    kept = [row(n) for n in range(100)]
    await store.upsert(kept)
    busy = True

    async def maintain() -> None:
        while busy:
            await store.maintain()
            await asyncio.sleep(0)

    async def churn(worker: int) -> None:
        for n in range(15):
            fresh = row(1000 * (worker + 1) + n)
            await store.upsert([fresh])
            assert await store.unsearchable([Probe(fresh.id, fresh.vector)]) == frozenset()
            await store.delete([fresh.id])

    upkeep = asyncio.create_task(maintain())
    await asyncio.gather(*(churn(worker) for worker in range(4)))
    busy = False
    await upkeep

    assert await held(store) == {r.id for r in kept}
    assert await store.unsearchable([Probe(r.id, r.vector) for r in kept]) == frozenset()


async def test_two_generations_live_side_by_side(make):
    old, new = await make("chunks_g1", 8), await make("chunks_g2", 12)
    await old.upsert([row(1)])
    await new.upsert([row(1, vector=unit(1, 12)), row(2, vector=unit(2, 12))])
    await new.delete(["row-000001"])

    assert (old.dimensions, new.dimensions) == (8, 12)
    assert await held(old) == {"row-000001"}
    assert await held(new) == {"row-000002"}


async def test_a_cancelled_call_leaves_the_store_usable(store):
    for n in range(20):
        call = asyncio.create_task(store.upsert([row(n)]))
        for _ in range(n):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    await store.upsert([row(n) for n in range(20)])

    assert await held(store) == {f"row-{n:06}" for n in range(20)}
    assert await store.count() == 20


# -- deleting --------------------------------------------------------------------------------------


async def test_a_late_clean_deletes_nothing_that_a_later_revision_wrote(store, eventually):
    """The only delete there is, by the real indexer: its worker of revision 1 is frozen right
    before it asks which rows there are, and goes on when revision 2 has settled.
    """
    late, ledger = Late(store), MemoryLedger()
    await plan(ledger, 1, "a" * 26)
    worker = asyncio.create_task(indexed(ledger, late, 1, "a" * 26))
    await eventually(lambda: late.asked.is_set() or worker.done())
    await plan(ledger, 2, "e" * 26)
    await indexed(ledger, store, 2, "e" * 26)

    late.go_on.set()
    await worker

    assert await held(store, DOCUMENT, 2**53) == {row_id(DOCUMENT, "e" * 26, 2)}


class Late:
    """A store for a worker that freezes before it asks for the ids of a document."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def ids(self, documents):
        self.asked.set()
        await self.go_on.wait()
        return await self._store.ids(documents)


DOCUMENT = doc_key("docs", "a.md")
THEN = datetime(2026, 1, 1, tzinfo=UTC)


async def plan(ledger: MemoryLedger, revision: int, key: str) -> None:
    entry = await ledger.get(DOCUMENT)
    record = revise(
        entry.record if entry else None,
        Revision(revision, "indexed", (key,), 0.0),
        source="docs",
        path="a.md",
        now=0.0,
    )
    await ledger.update(DOCUMENT, record, expect=entry.at if entry else 0)


async def indexed(ledger: MemoryLedger, store, revision: int, key: str) -> None:
    """Let an indexer have the only part of a revision until it is settled."""

    async def publish(event):
        pass

    row_of = PartRow(
        id=row_id(DOCUMENT, key, revision), chunk_key=key, born=revision, text=f"text {revision}"
    )
    part = EmbeddingsReady(
        document=Document(
            source="docs", path="a.md", doc_key=DOCUMENT, revision=revision, changed_at=THEN
        ),
        batch=Batch(id="b", count=1, source="docs", started_at=THEN),
        generation="g",
        rows=(row_of,),
        fingerprint="model",
        dims=DIMENSIONS,
        count=1,
        vectors=EmbeddingsReady.pack(unit(revision)[None, :]),
    )
    index = Index("g", "model", ledger, store, publish, lambda: THEN, Progress())
    while True:
        try:
            await index(part, Delivery(1))
        except NotYetIndexed as error:
            await asyncio.sleep(error.after_s or 0)
        else:
            return
