import unicodedata
from dataclasses import replace

import pytest
from gateway_world import chunk_key, given

from services.gateway.models import SearchRequest
from services.gateway.problems import Problem
from services.gateway.status.status import StageSeen
from shared.domain.ids import doc_key
from shared.domain.metadata import with_origins
from shared.domain.ordering import Reason
from shared.ports import Filter


async def ask(index, q, **fields):
    return await index.search(SearchRequest(q=q, **fields))


def paths(answer):
    return [hit.document.path for hit in answer.hits]


async def test_the_document_that_says_it_comes_first(index):
    await index.put("keys.md", ["rotate the credential every month"])
    await index.put("faq.md", ["opening hours of the office"])

    for mode in ("hybrid", "vector", "keyword"):
        answer = await ask(index, "rotate credential", mode=mode)

        assert paths(answer)[0] == "keys.md"
        assert answer.mode == mode


async def test_only_rows_that_the_settled_revision_lists_are_shown(index):
    await index.put("a.md", ["old zebra text"])
    await index.begin("a.md", ["new zebra text"])

    answer = await ask(index, "zebra")

    assert [hit.chunk.text for hit in answer.hits] == ["old zebra text"]
    assert answer.hits[0].document.stale
    assert answer.hits[0].document.state == "working"


async def test_what_is_written_anew_as_it_was_is_not_stale(index):
    await index.put("a.md", ["zebra"])
    await index.begin("a.md", ["zebra"])

    hit = (await ask(index, "zebra")).hits[0]

    assert (hit.document.state, hit.document.stale) == ("working", False)


async def test_a_removed_document_is_not_shown_while_its_rows_wait_to_be_cleaned(index):
    await index.put("a.md", ["zebra"])
    await index.put("a.md", [])

    answer = await ask(index, "zebra")

    assert await index.store.count() == 1
    assert answer.hits == ()
    assert answer.total.value == 0


async def test_a_refused_update_leaves_the_last_version_marked_stale_with_the_reason(index):
    _, served = await index.put("a.md", ["zebra"])
    await index.put("a.md", [], outcome="refused", reason=Reason("corrupt", "cannot be read"))

    hit = (await ask(index, "zebra")).hits[0]

    assert hit.document.stale
    assert hit.document.state == "refused"
    assert hit.document.revision == served
    assert hit.document.reason.code == "corrupt"
    assert hit.document.stale_since is not None


async def test_one_hit_for_a_document_or_one_for_each_chunk(index):
    key, _ = await index.put("a.md", ["zebra one", "zebra two", "nothing"])

    by_document = await ask(index, "zebra", mode="keyword")
    by_chunk = await ask(index, "zebra", mode="keyword", group_by="chunk")

    assert len(by_document.hits) == 1
    assert {hit.chunk.n for hit in by_chunk.hits} == {1, 2}
    assert {hit.document.doc_key for hit in by_chunk.hits} == {key}


async def test_the_same_chunk_with_two_births_is_shown_once(index):
    key, _ = await index.put("a.md", ["zebra"])
    entry = await index.ledger.get(key)
    ref = entry.record.settled.rows[0]
    twin = type(ref)(ref.chunk_key, ref.born + 1)
    await index.store.upsert([index.row(key, "docs", "a.md", "zebra", twin)])

    answer = await ask(index, "zebra", group_by="chunk")

    assert [hit.chunk.id for hit in answer.hits] == [ref.id(key)]


async def test_filters_by_source_and_path(index):
    await index.put("guide/a.md", ["zebra"])
    await index.put("guide/old/b.md", ["zebra"])
    await index.put("c.md", ["zebra"], source="wiki")

    assert set(paths(await ask(index, "zebra"))) == {"guide/a.md", "guide/old/b.md", "c.md"}
    assert paths(await ask(index, "zebra", filter="source:wiki")) == ["c.md"]
    assert paths(await ask(index, "zebra", source=("wiki",))) == ["c.md"]
    found = await ask(index, "zebra", filter="path:guide/ -path:guide/old/")
    assert paths(found) == ["guide/a.md"]


async def test_filters_by_metadata_as_text_and_as_json(index):
    index.search.declared = {"docs": {"lang": "keyword", "price": "number"}}
    await index.put("a.md", ["zebra"], metadata=with_origins({"lang": "en"}, {"lang": "meta"}))
    await index.put("b.md", ["zebra"], metadata={"lang": "de", "price": 5})
    await index.put("c.md", ["zebra"], source="wiki", metadata={"price": "9.5"})

    found = {
        written: sorted(paths(await ask(index, "zebra", filter=written)))
        for written in ("lang:en", "lang:*", "-lang:de", "price>5", "price<=9.5 source:docs")
    }
    as_json = {"not": {"field": "lang", "in": ["de"]}}

    assert found == {
        "lang:en": ["a.md"],
        "lang:*": ["a.md", "b.md"],
        "-lang:de": ["a.md", "c.md"],
        "price>5": ["c.md"],
        "price<=9.5 source:docs": ["b.md"],
    }
    assert sorted(paths(await ask(index, "zebra", filter=as_json))) == ["a.md", "c.md"]
    assert paths(await ask(index, "zebra", filter=as_json, source=("wiki",))) == ["c.md"]
    with pytest.raises(Problem, match="'author' is not a field to filter by"):
        await ask(index, "zebra", filter="author:ada")


async def test_parts_and_highlights_come_when_asked_for(index):
    await index.put("a.md", ["how to rotate a credential"])

    plain = (await ask(index, "rotating credentials")).hits[0]
    full = (await ask(index, "rotating credentials", explain=True, highlight=True)).hits[0]

    assert plain.parts is None
    assert plain.highlights is None
    assert round(sum(p.adds for p in full.parts.values()), 4) == full.score
    assert [full.chunk.text[a:b] for a, b in full.highlights] == ["rotate", "credential"]


async def test_a_footer_weighs_less_than_a_page_on_its_subject_and_is_still_found(index):
    for n in range(5):
        await index.put(f"{n}.md", ["contact zebra office", f"page about lions {n}"])
    await index.put("contact.md", ["how to contact the zebra office by telephone"])

    about = await ask(index, "contact zebra office", mode="keyword", explain=True)
    footer = await ask(index, "zebra", filter="-path:contact.md")

    assert paths(about)[0] == "contact.md"
    assert all("repeated" in hit.parts for hit in about.hits[1:])
    assert {hit.chunk.text for hit in footer.hits} == {"contact zebra office"}
    assert all(round(sum(p.adds for p in h.parts.values()), 4) == h.score for h in about.hits)


async def test_a_question_is_searched_and_marked_in_the_spelling_of_documents(index):
    await index.put("a.md", ["der Bürgermeister eröffnet die Brücke"])
    question = unicodedata.normalize("NFD", "Bürger\u00admeister Brücke")

    for mode in ("hybrid", "vector", "keyword"):
        found = await ask(index, question, mode=mode, highlight=True, explain=True)
        plain = await ask(index, "Bürgermeister Brücke", mode=mode, highlight=True, explain=True)

        assert found.hits == plain.hits
        assert len(found.hits[0].highlights) == 2


async def test_an_explained_answer_tells_where_its_time_went(index):
    await index.put("a.md", ["zebra"])

    told = {
        mode: (await ask(index, "zebra", mode=mode, explain=True)).timings
        for mode in ("hybrid", "keyword")
    }

    common = {"freshness", "ledger", "rank", "words"}
    assert told["hybrid"].keys() == common | {"encode", "vectors"}
    assert told["keyword"].keys() == common
    assert all(spent >= 0 for one in told.values() for spent in one.values())
    assert (await ask(index, "zebra")).timings is None


async def test_limit_and_total(index):
    for n in range(7):
        await index.put(f"{n}.md", [f"zebra number {n}"])

    answer = await ask(index, "zebra", limit=3)

    assert len(answer.hits) == 3
    assert answer.total.value == 7
    assert answer.total.exact


async def test_an_answer_says_how_fresh_it_is(index):
    index.stages = [
        StageSeen("accept", 0, 0, "submissions"),
        StageSeen("enricher", 2, 1, "changes", oldest_at=1.0),
    ]

    freshness = (await ask(index, "zebra")).freshness

    assert freshness.pending_documents == 3
    assert freshness.watermark.timestamp() == 1.0
    assert freshness.after_met is None


async def test_after_waits_for_the_receipt_and_says_whether_it_was_met(index):
    key, revision = await index.put("a.md", ["zebra"])

    met = await ask(index, "zebra", after=f"{key}-{revision}")
    missed = await ask(index, "zebra", after=f"{key}-{revision + 1}", wait=0)

    assert met.freshness.after_met is True
    assert missed.freshness.after_met is False
    with pytest.raises(Problem, match="not a receipt"):
        await ask(index, "zebra", after="yesterday")


async def test_a_question_is_encoded_once(index):
    await index.put("a.md", ["zebra"])
    await ask(index, "zebra")
    await ask(index, "zebra")
    await ask(index, "zebra", mode="keyword")

    assert index.encoder.texts == ["zebra"]


async def test_a_question_in_a_language_that_the_model_does_not_know_is_told(index):
    await index.put("a.md", ["Die Rechnung liegt im Portal"])
    question = "wo finde ich die Rechnung"
    assert (await ask(index, question)).language is None  # what the model knows is not known
    index.search.languages = ("en",)

    told = [(await ask(index, question, mode=mode)).language for mode in ("hybrid", "vector")]

    assert [(one.question, one.model) for one in told] == [("de", ("en",))] * 2
    assert (await ask(index, question, mode="keyword")).language is None
    assert (await ask(index, "where is the invoice")).language is None


async def test_weights_of_nothing_are_refused(index):
    with pytest.raises(Problem, match="above 0"):
        await ask(index, "zebra", weights={"vector": 0, "keyword": 0})


def test_the_world_names_chunks_as_the_ledger_packs_them():
    assert len(chunk_key("x")) == 26
    assert len(doc_key("docs", "a.md")) == 26


class SettlesMeanwhile:
    """A store that answers, and then, once, a document settles before the ledger is asked."""

    def __init__(self, store, settle):
        self.store, self.settle, self.asked = store, settle, 0

    async def search_text(self, *args, **kwargs):
        self.asked += 1
        found = await self.store.search_text(*args, **kwargs)
        if self.settle is not None:
            settle, self.settle = self.settle, None
            await settle()
        return found


async def test_a_document_that_settles_while_a_question_is_answered_has_no_gap(index):
    await index.put("a.md", ["old zebra text"])
    store = SettlesMeanwhile(index.store, lambda: index.put("a.md", ["new zebra text"]))

    search = replace(index.search, store=given(store))
    answer = await search(SearchRequest(q="zebra", mode="keyword"))

    assert [hit.chunk.text for hit in answer.hits] == ["new zebra text"]
    assert store.asked == 2


async def test_rows_that_nobody_has_cleaned_up_are_not_asked_about_for_ever(index):
    await index.put("a.md", ["old zebra text"])
    await index.put("a.md", ["new zebra text"])
    store = SettlesMeanwhile(index.store, None)

    search = replace(index.search, store=given(store))
    answer = await search(SearchRequest(q="zebra", mode="keyword"))

    assert [hit.chunk.text for hit in answer.hits] == ["new zebra text"]
    assert store.asked == 2


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
async def test_a_quoted_phrase_is_in_every_hit_however_many_have_its_words(index, mode):
    await index.put("log.md", [f"key zebra {n}" for n in range(600)])
    await index.put("wanted.md", ["how to rotate the zebra key safely every month"])

    answer = await ask(index, '"zebra key" rotate', mode=mode)

    assert paths(answer) == ["wanted.md"]
    assert answer.total.exact


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
async def test_an_excluded_word_is_in_no_hit_however_many_have_it(index, mode):
    await index.put("log.md", [f"zebra key of draft {n}" for n in range(600)])
    await index.put("wanted.md", ["how to rotate the zebra key safely every month"])

    assert paths(await ask(index, "zebra key -drafts", mode=mode)) == ["wanted.md"]
    assert set(paths(await ask(index, "zebra key -x", mode=mode))) == {"wanted.md", "log.md"}


async def test_a_question_of_small_words_finds_what_it_names(index):
    await index.put("band.md", ["The Who played in Leeds"])
    await index.put("it.md", ["our IT department"])
    await index.put("other.md", ["it is the same as before"])

    assert paths(await ask(index, "The Who", mode="keyword"))[0] == "band.md"
    assert paths(await ask(index, "IT", mode="keyword"))[0] == "it.md"


async def test_rows_that_are_promised_to_nobody_do_not_crowd_out_what_is(index):
    await index.put("wanted.md", ["how to rotate the zebra key safely every month"])
    await index.begin("log.md", [f"zebra key {n}" for n in range(600)])

    for mode in ("hybrid", "vector", "keyword"):
        answer = await ask(index, "zebra key", mode=mode)

        assert paths(answer) == ["wanted.md"]
        assert answer.total.exact


async def test_one_large_document_does_not_crowd_out_the_others(index):
    await index.put("log.md", [f"zebra key {n}" for n in range(300)])
    await index.put("wanted.md", ["how to rotate the zebra key safely every month"])

    assert set(paths(await ask(index, "zebra key"))) == {"log.md", "wanted.md"}


async def test_the_watermark_is_not_younger_than_the_rows(index, monkeypatch):
    """A change that settles between the two looks would be claimed and not shown."""
    order = []
    search, behind = index.store.search_text, index.search.behind

    async def asked(*args, **fields):
        order.append("store")
        return await search(*args, **fields)

    async def told():
        order.append("freshness")
        return await behind()

    monkeypatch.setattr(index.store, "search_text", asked)
    monkeypatch.setattr(index.search, "behind", told)
    await ask(index, "zebra", mode="keyword")

    assert order == ["freshness", "store"]


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"source": ("inbx",)}, "no source 'inbx' is known; did you mean 'inbox'?"),
        ({"filter": "source:nope"}, "no source 'nope' is known"),
        ({"source": ("docs",)}, ""),
        ({"source": ("inbox",)}, ""),
        ({"filter": "-source:nope path:elsewhere/"}, ""),
    ],
)
async def test_where_nothing_is_found_an_unknown_source_is_named(index, fields, hint):
    await index.put("a.md", ["zebra"], source="inbox")
    await index.put("a.md", ["lion"], source="docs")
    q = "zzz" if "inbox" in fields.get("source", ()) else "zebra"

    answer = await index.queries.search(SearchRequest(q=q, mode="keyword", **fields))

    assert (answer.hits, answer.hint) == ((), hint)


async def test_an_inactive_document_is_not_found_and_found_again_when_it_is_active(index):
    await index.put("a.md", ["zebra"])
    await index.put("a.md", ["zebra"], is_active=False)

    gone = await ask(index, "zebra")
    await index.put("a.md", ["zebra"], static_score=0.5)
    back = await ask(index, "zebra")

    assert (paths(gone), gone.total.value) == ([], 0)
    assert paths(back) == ["a.md"]
    assert await index.store.count() == 1


async def test_an_answer_is_full_however_many_inactive_documents_come_first(index):
    for n in range(150):
        await index.put(f"{n}.md", [f"zebra {n}"], is_active=False)
    for n in range(4):
        await index.put(f"active-{n}.md", [f"zebra in a much longer text of {n} other words"])

    for mode in ("hybrid", "vector", "keyword"):
        answer = await ask(index, "zebra", mode=mode, limit=4)

        assert {path.split("-")[0] for path in paths(answer)} == {"active"}
        assert len(answer.hits) == 4


async def test_hits_tell_the_score_that_their_source_gives(index):
    await index.put("a.md", ["zebra"], static_score=-2.5)
    await index.put("b.md", ["zebra too"])

    hits = (await ask(index, "zebra")).hits

    assert {hit.document.path: hit.document.static_score for hit in hits} == {
        "a.md": -2.5,
        "b.md": None,
    }


async def test_a_store_that_knows_no_exclusion_still_shows_nothing_excluded(index, monkeypatch):
    for n in range(120):
        await index.put(f"old/{n}.md", ["zebra"])
    await index.put("new.md", ["zebra and much else that is said beside it"])
    search, search_text = index.store.search, index.store.search_text

    async def whatever(*asked, limit, where):
        return await search(*asked, limit=limit, where=Filter())

    async def whatever_text(*asked, limit, where):
        return await search_text(*asked, limit=limit, where=Filter())

    monkeypatch.setattr(index.store, "search", whatever)
    monkeypatch.setattr(index.store, "search_text", whatever_text)

    assert paths(await ask(index, "zebra", filter="-path:old/")) == ["new.md"]
