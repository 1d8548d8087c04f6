import asyncio
import shlex
import threading
from dataclasses import replace
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_reading import index_of

from services.gateway import problems, queries
from services.gateway.documents.documents import candidates, read_cursor, write_cursor
from services.gateway.models import (
    ChecksRequest,
    DocumentRequest,
    DocumentsRequest,
    LeftOutRequest,
    ReceiptRequest,
    SearchRequest,
)
from services.gateway.problems import Problem
from shared.domain.errors import TransientError
from shared.domain.metadata import with_embedded, with_origins
from shared.domain.ordering import Reason, Record
from shared.observe.progress import SourceHealth
from shared.ports import Selection

names = st.tuples(st.sampled_from(["docs", "wiki"]), st.text("ab/é", min_size=1, max_size=4))


async def show(index, name, **fields):
    return await index.queries.document(DocumentRequest(name=name, **fields))


async def test_a_document_is_found_by_every_name_it_has(index):
    key, _ = await index.put("guide/a.md", ["one", "two"])

    for name in ("docs/guide/a.md", "guide/a.md", key, "./guide/a.md"):
        assert (await show(index, name)).doc_key == key
    assert (await show(index, "a.md", file="/home/me/docs/guide/a.md")).doc_key == key


async def test_title_metadata_and_origins_are_told_with_the_chunks(index):
    await index.put("a.md", ["one"], metadata=with_origins({"author": "Ada"}, {"author": "meta"}))

    shown = await show(index, "a.md")
    short = await show(index, "a.md", chunks=False)

    assert (shown.title, shown.metadata) == ("a.md", {"author": "Ada"})
    assert shown.origins == {"author": "meta"}
    assert (short.title, short.metadata, short.origins) == ("", {}, {})


async def test_values_that_filters_take_as_missing_are_told(index):
    index.search.declared = {
        "docs": {"at": "date", "price": "number", "lang": "keyword", "gone": "date"}
    }
    metadata = {"at": "soon", "price": 5, "lang": "en", "gone": None, "team": "ops"}
    await index.put("a.md", ["one"], metadata=metadata)

    assert (await show(index, "a.md")).unfit == {"at": "date"}


async def test_a_source_that_no_setting_names_is_known_from_its_documents(index):
    key, _ = await index.put("hello.md", ["one"], source="inbox")

    assert (await show(index, "inbox/hello.md")).doc_key == key
    assert (await show(index, "hello.md")).doc_key == key


async def test_a_path_in_two_sources_must_say_which(index):
    await index.put("a.md", ["one"])
    key, _ = await index.put("a.md", ["one"], source="wiki")

    with pytest.raises(Problem, match=r"docs/a\.md and wiki/a\.md") as refused:
        await show(index, "a.md")

    assert refused.value.code == "ambiguous_path"
    assert (await show(index, "wiki/a.md")).doc_key == key


@pytest.mark.parametrize(("name", "is_told"), [("x/app.log", True), ("x/a.PNG", True),
                                               ("zzz.md", False), ("README", False)])  # fmt: skip
async def test_a_file_of_an_ending_that_folders_leave_out_is_told_as_such(index, name, is_told):
    with pytest.raises(Problem, match="is known") as refused:
        await show(index, name)

    assert ("a folder leaves out files that end in" in refused.value.detail) == is_told


async def test_an_unknown_document_gets_a_suggestion(index):
    await index.put("guide/install.md", ["one"])

    with pytest.raises(Problem, match=r"did you mean 'guide/install.md'") as refused:
        await show(index, "guide/instal.md")

    assert refused.value.code == "document_not_found"


async def test_a_suggestion_never_takes_the_time_of_those_who_ask_for_something_else(
    index, monkeypatch
):
    """20,000 names took 1.5 s of the loop that all services share."""
    compared = []

    def hint(name, known):
        compared.append((threading.current_thread(), len(known)))
        return problems.hint(name, known)

    monkeypatch.setattr(queries, "hint", hint)
    monkeypatch.setattr(queries, "COMPARED", 4)
    for n in range(9):
        await index.put(f"guide/{n}/{'x' * n}install.md", ["one"])
    asked = [show(index, "guide/0/instal.md") for _ in range(5)]
    answers = await asyncio.gather(*asked, return_exceptions=True)

    (thread, count), *others = compared
    assert (thread is threading.main_thread(), count, others) == (False, 4, [])
    assert sorted("did you mean 'guide/0/install.md'" in a.detail for a in answers) == [
        *(False,) * 4,
        True,
    ]
    assert {answer.code for answer in answers} == {"document_not_found"}


async def test_a_document_shows_state_revisions_and_chunks_in_order(index):
    _, first = await index.put("a.md", ["one", "two"])
    _, second = await index.begin("a.md", ["two", "three"])

    answer = await show(index, "a.md")

    assert answer.state == "working"
    assert answer.stale
    assert answer.served.sequence == first
    assert answer.served.freshness_s == 0.5
    assert answer.pending.sequence == second
    assert (answer.pending.inserted, answer.pending.kept) == (1, 1)
    assert [chunk.text for chunk in answer.chunks] == ["one", "two"]
    assert answer.newest.sequence == second
    assert "until then the version before is served" in answer.why


async def test_a_change_that_nobody_has_begun_is_queued(index):
    await index.change("new.md")

    answer = await show(index, "new.md")

    assert answer.state == "queued"
    assert answer.served is None
    assert answer.chunks == ()


async def test_a_refused_document_says_why_and_what_to_do(index):
    await index.put("a.md", [], outcome="refused", reason=Reason("corrupt", "it is damaged"))

    answer = await show(index, "a.md")

    assert (answer.state, answer.why) == ("refused", "it is damaged")
    assert "save it anew" in answer.fix


async def test_a_row_that_the_store_lost_is_shown_as_missing(index):
    await index.put("a.md", ["one", "two"])
    lost = (await show(index, "a.md")).chunks[0]
    await index.store.delete([lost.id])

    assert [chunk.text for chunk in (await show(index, "a.md")).chunks] == [None, "two"]


@given(keys=st.sets(names, max_size=12), limit=st.integers(1, 5))
def test_pages_joined_are_the_whole_list_in_order(keys, limit):
    index = index_of(*(Record(*name) for name in keys))
    found, cursor, more = [], "", True
    while more:
        lines, total, more = index.page(limit=limit, after=read_cursor(cursor))
        found += [(line.source, line.path) for line in lines]
        cursor = write_cursor(*found[-1]) if found else ""

    assert found == sorted(keys)
    assert total == len(keys)


async def test_lists_are_cut_by_state_source_prefix_and_staleness(index):
    await index.put("a.md", ["one"])
    await index.put("g/b.md", ["two"], source="wiki")
    await index.begin("c.md", ["three"])

    async def listed(**fields):
        answer = await index.queries.documents(DocumentsRequest(**fields))
        return [line.path for line in answer.documents]

    assert await listed() == ["a.md", "c.md", "g/b.md"]
    assert await listed(state="working,queued") == ["c.md"]
    assert await listed(source="wiki") == ["g/b.md"]
    assert await listed(prefix="g/") == ["g/b.md"]
    assert await listed(stale=True) == []


@given(st.text(), st.text())
def test_a_cursor_comes_back_as_it_was_given(source, path):
    assert read_cursor(write_cursor(source, path)) == (source, path)


@pytest.mark.parametrize("cursor", ["x", "!!!!", "bnVsbA", "WzFd", "é"])
def test_what_is_no_cursor_is_refused(cursor):
    with pytest.raises(Problem, match="cursor"):
        read_cursor(cursor)


def test_a_file_of_a_root_comes_before_names():
    roots = {"docs": PurePath("/home/me/docs")}

    found = candidates("docs/a.md", ["wiki"], roots, "/home/me/docs/docs/a.md")

    assert found[0] == ("docs", "docs/a.md")
    assert ("docs", "a.md") in found
    assert ("wiki", "docs/a.md") in found


SELECTIONS = {
    "x.png": Selection(exists=True, why="its ending .png is not read", fix="save it otherwise"),
    "sub": Selection(True, True, "", "", {".png": 3}, {"sub/x.png": "its ending .png is not read"}),
    "": Selection(True, True, "", "", {".png": 4}),
}


@pytest.fixture
def explained(index):
    """An instance whose process of `docs` tells what lies at a path."""

    async def explain(source, path):
        assert source == "docs"
        return SELECTIONS.get(path, Selection(exists=False))

    index.queries.explain = explain
    return index


async def test_a_file_that_is_left_out_is_told_with_the_rule(explained):
    for name in ("docs/x.png", "x.png"):
        with pytest.raises(
            Problem, match=r"docs/x\.png is left out: its ending \.png is"
        ) as refused:
            await show(explained, name)
        assert refused.value.code == "document_left_out"
        assert refused.value.fix == "save it otherwise"
    with pytest.raises(Problem, match="docs/sub is a folder"):
        await show(explained, "sub")
    with pytest.raises(Problem, match=r"no document 'y\.png' is known"):
        await show(explained, "y.png")


async def test_a_file_that_cannot_be_read_or_named_is_told_with_its_fault(explained):
    faults = {"locked.md": "locked.md: permission denied", "x.png": "gone"}
    explained.health = {"docs": SourceHealth("", faults, 0, {})}

    for name in ("docs/locked.md", "locked.md"):
        with pytest.raises(Problem, match=r"docs/locked\.md is no document: .* denied") as refused:
            await show(explained, name)
        assert refused.value.code == "document_not_found"
        assert "instep status" in refused.value.fix
    with pytest.raises(Problem, match=r"no document 'other\.md' is known"):
        await show(explained, "other.md")


async def test_a_file_whose_records_are_documents_says_how_many_and_how_to_see_them(index):
    for key in ("4711", "a b"):
        await index.put(f"my prices.csv#{key}", [f"hose {key}"])
    await index.put("mine.csv#1", ["hose"], source="wiki")

    for name in ("docs/my prices.csv", "my prices.csv"):
        with pytest.raises(Problem) as refused:
            await show(index, name)
        problem = refused.value
        assert problem.code == "document_not_found"
        assert problem.detail == (
            "docs/my prices.csv is no document itself: its 2 records are documents"
        )
        one, _, search = problem.fix.partition("; or: ")
        (shown,) = shlex.split(one)[2:]
        assert (await show(index, shown)).path == "my prices.csv#4711"
        filtered = shlex.split(search)[-1]
        found = await index.queries.search(SearchRequest(q="hose", filter=filtered))
        assert {hit.document.path for hit in found.hits} == {
            "my prices.csv#4711",
            "my prices.csv#a b",
        }
    with pytest.raises(Problem, match=r"wiki/mine\.csv is no document itself: its record is a doc"):
        await show(index, "mine.csv")
    with pytest.raises(Problem, match=r"no document 'prices\.csv' is known"):
        await show(index, "prices.csv")


async def test_a_message_is_not_said_to_have_records_for_its_attachments(index):
    await index.put("mail.eml#report.pdf", ["report"])

    with pytest.raises(Problem, match=r"no document 'docs/mail\.eml' is known"):
        await show(index, "docs/mail.eml")


@pytest.mark.parametrize(
    ("fields", "path", "count"),
    [
        ({"name": "docs"}, "", 4),
        ({"name": "docs/"}, "", 4),
        ({"name": ".", "file": "/home/me/docs"}, "", 4),
        ({"name": "sub/", "file": "/home/me/docs/sub"}, "sub", 3),
        ({"name": "docs/sub"}, "sub", 3),
        ({"name": "sub"}, "sub", 3),
    ],
)
async def test_a_folder_is_asked_for_by_every_name_it_has(explained, fields, path, count):
    answer = await explained.queries.left_out(LeftOutRequest(**fields))

    assert (answer.source, answer.path, answer.counts) == ("docs", path, {".png": count})


async def test_what_is_left_out_is_not_known_where_no_process_tells(index):
    with pytest.raises(Problem, match="no folder is watched"):
        await index.queries.left_out(LeftOutRequest(name="docs"))

    async def silent(source, path):
        raise TransientError("silent")

    index.queries.explain = silent
    with pytest.raises(Problem, match=r"no watched folder holds 'docs'"):
        await index.queries.left_out(LeftOutRequest(name="docs"))
    with pytest.raises(Problem, match=r"no document 'x\.png' is known"):
        await show(index, "x.png")


async def test_a_document_whose_file_a_rule_leaves_out_by_now_says_so(explained):
    for path in ("x.png", "gone.png"):
        key, _ = await explained.put(path, [])
        entry = await explained.ledger.get(key)
        removed = replace(entry.record.settled, outcome="removed")
        record = replace(entry.record, settled=removed)
        await explained.ledger.update(key, record, expect=entry.at)

    left_out, gone = await show(explained, "x.png"), await show(explained, "gone.png")

    assert left_out.why == "its file is left out: its ending .png is not read"
    assert left_out.fix == "save it otherwise"
    assert (gone.why, gone.fix) == (
        "it was deleted at its source, and no chunk of it is left",
        "",
    )


async def test_an_inactive_document_is_known_listed_and_counted_as_such(index):
    key, revision = await index.put("a.md", ["one"], is_active=False, static_score=0.5)
    await index.put("b.md", ["two"])

    shown = await show(index, "a.md")
    listed = await index.queries.documents(DocumentsRequest(state="inactive"))
    status = await index.queries.status()
    receipt = await index.queries.receipt(ReceiptRequest(receipt=f"{key}-{revision}"))

    assert (shown.state, shown.stale, shown.fix) == ("inactive", False, "")
    assert "not active" in shown.why
    assert (shown.served.is_active, shown.served.static_score) == (False, 0.5)
    assert [chunk.text for chunk in shown.chunks] == ["one"]
    assert [(line.path, line.state) for line in listed.documents] == [("a.md", "inactive")]
    assert (status.documents["searchable"], status.documents["inactive"]) == (1, 1)
    assert (receipt.state, receipt.final, receipt.searchable_at) == ("inactive", True, None)


async def test_rows_of_an_inactive_document_are_no_difference_between_store_and_ledger(index):
    await index.put("a.md", ["one"], is_active=False)

    compared = (await index.queries.checks(ChecksRequest(deep=True))).checks[1]

    assert (compared.name, compared.level) == ("index", "ok")
    assert compared.text == "1 row, equal to the ledger"


async def test_chunks_are_shown_with_the_text_that_the_model_reads(index):
    await index.put("a.md", ["one"])
    by_template = with_embedded(with_origins({"brand": "Acme"}, {}), ("Acme Acme: ", "!"))
    await index.put("b.md", ["two"], metadata=by_template)

    plain, templated = await show(index, "a.md"), await show(index, "b.md")

    assert [(c.text, c.embedded) for c in plain.chunks] == [("one", "a.md > Top\none")]
    assert [(c.text, c.embedded) for c in templated.chunks] == [("two", "Acme Acme: two!")]
    assert templated.metadata == {"brand": "Acme"}
