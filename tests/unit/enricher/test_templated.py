"""Embedded text by template: the default is what it was, and what holds for every template."""

import json
import re
from base64 import b32encode
from collections import Counter
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_content import MemoryContent

from services.enricher.chunking.chunk import chunk, chunk_keys, fit_title, ready, templated
from services.enricher.fetch import Load
from services.enricher.parts import parts, revision_of
from services.enricher.prepare import PrepareDocument, in_a_thread
from services.validator.observe import embedded_text
from shared.domain.events import (
    Batch,
    Document,
    DocumentChanged,
    DocumentEnriched,
    Inline,
    PartRow,
    Ready,
    SubmittedChunk,
)
from shared.domain.ids import doc_key
from shared.domain.metadata import CONTEXT, parted
from shared.domain.ordering import revise
from shared.domain.template import OF_RECORDS
from shared.formats.blocks import Block, Extracted, with_paths
from shared.ports import Hit
from shared.settings import Chunking, TemplateChunking

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TWICE = TemplateChunking(template=OF_RECORDS)

words_ = st.text("abcdefg", min_size=1, max_size=7)
lines = st.lists(words_, max_size=30).map(" ".join)
blocks = st.one_of(
    st.builds(Block, st.just("paragraph"), lines, st.just(0)),
    st.builds(Block, st.just("heading"), lines, st.integers(1, 4)),
)
documents = st.builds(
    lambda title, found: Extracted(title, with_paths(found), {}),
    lines,
    st.lists(blocks, min_size=1, max_size=12),
)
templates = st.lists(
    st.sampled_from(["{title}", "{heading}", "{brand}", "\n", " ", "some words ", "{{"]), max_size=9
).flatmap(
    lambda some: st.integers(0, len(some)).map(
        lambda at: "".join([*some[:at], "{text}", *some[at:]])
    )
)
metadata = st.fixed_dictionaries({}, optional={"brand": lines, "other": lines})


# -- the default is what it was --------------------------------------------------------------------


def embedded_before(title, heading, text):
    """As 0.1.0 made it; these lines never change."""
    position = re.compile(r"\A(?:page|slide) [0-9]{1,6}\Z")
    path = [part for part in (title, *(h for h in heading if not position.match(h))) if part]
    if len(path) > 1 and path[0] == path[1]:
        path = path[1:]
    return f"{' > '.join(path)}\n{text}" if path else text


def keys_before(chunks, title, metadata):
    """As 0.1.0 made them; these lines never change."""
    common = json.dumps([title, metadata], ensure_ascii=False, sort_keys=True)
    seen, keys = Counter(), []
    for one in chunks:
        fields = json.dumps([one.text, one.heading, seen[one]], ensure_ascii=False)
        seen[one] += 1
        digest = sha256(f"{common}\n{fields}".encode("utf-8", "surrogatepass")).digest()
        keys.append(b32encode(digest[:16]).decode().rstrip("=").lower())
    return tuple(keys)


headings = st.lists(st.text(max_size=9) | st.sampled_from(["page 3", "slide 12"]), max_size=4)


@given(st.text(max_size=9), headings.map(tuple), st.text(), metadata)
def test_without_a_template_the_model_reads_byte_for_byte_what_it_read(title, heading, text, told):
    row = PartRow(id="", chunk_key="", born=1, title=title, heading=heading, text=text)
    told = {**told, "instep:origins": "{}"}

    assert row.embedded_text == embedded_before(title, heading, text)
    assert row.model_copy(update={"metadata": told}).embedded_text == row.embedded_text


@given(documents, metadata)
def test_without_a_template_chunks_have_the_keys_that_they_had(words, extracted, told):
    found = chunk(extracted, Chunking(), words)

    assert chunk_keys(found, title="T", metadata=told) == keys_before(found, "T", told)


# -- every template --------------------------------------------------------------------------------


def embedded_by(template, extracted, told, chunking, tokens):
    title = fit_title(extracted.title, chunking, tokens)
    around = templated(template, title, told, chunking, tokens)
    for one in chunk(extracted, chunking, tokens, around):
        before, after = around(one.heading)
        yield f"{before}{one.text}{after}"


@given(
    documents, templates, metadata,
    st.builds(
        Chunking,
        kind=st.sampled_from(["document", "recursive", "fixed"]),
        tokens=st.sampled_from([16, 40, 220]),
    ),
)  # fmt: skip
def test_no_chunk_exceeds_the_budget_whatever_the_template(
    words, extracted, template, told, chunking
):
    found = list(embedded_by(template, extracted, told, chunking, words))

    assert all(size <= chunking.tokens for size in words.count(found))


@pytest.mark.model
@settings(max_examples=40)
@given(
    st.text(max_size=2_000), st.text(max_size=300), st.text(max_size=2_000), templates,
    st.sampled_from([16, 64, 220]),
)  # fmt: skip
def test_any_text_fits_the_real_window_with_any_template(
    wordpiece, text, title, brand, template, tokens
):
    extracted = Extracted(title, with_paths([Block("paragraph", text, 0)]), {})
    chunking = Chunking(tokens=tokens)

    found = list(embedded_by(template, extracted, {"brand": brand}, chunking, wordpiece))

    assert all(size <= tokens for size in wordpiece.count(found))


@given(documents)
def test_a_template_loses_no_text(words, extracted):
    around = templated("{title} {text}", "T", {}, Chunking(), words)

    whole = " ".join(one.text for one in chunk(extracted, Chunking(), words, around))

    said = [block.text for block in extracted.blocks if block.kind == "paragraph"]
    assert set(" ".join(said).split()) <= set(whole.split())


def test_a_long_path_loses_its_outer_headings_first_and_long_values_their_end(words):
    around = templated(
        "{heading}: {text}", "", {}, Chunking(tokens=30), words
    )  # a third: 10 tokens

    assert around(("a " * 20, "b", "c")) == ("b > c: ", "")
    assert around(("a", "b")) == ("a > b: ", "")
    long = templated("{text} {brand}", "", {"brand": "w " * 50}, Chunking(tokens=30), words)
    assert long(()) == ("", " " + " ".join("w" * 10))


# -- rows ------------------------------------------------------------------------------------------


def changed(content, **more):
    document = Document(
        source="shop", path="a.md", doc_key=doc_key("shop", "a.md"), changed_at=NOW, revision=7
    )
    batch = Batch(id="b", count=1, source="shop", started_at=NOW)
    return DocumentChanged(document=document, batch=batch, op="upserted", content=content, **more)


async def rows_of(event, words, chunking):
    prepare = PrepareDocument(
        Load(MemoryContent()), words, Chunking(), {"shop": chunking}, in_a_thread
    )
    prepared = await prepare(event)
    record = revise(None, revision_of(event, prepared, "g"), source="shop", path="a.md", now=0.0)
    made = parts(event.document, event.batch, "g", record.pending, prepared, dimensions=8)
    return [row for part in made for row in part.rows]


HOSE = Inline(data="It does not kink.")


async def test_a_record_is_embedded_with_its_title_twice(words):
    [row] = await rows_of(changed(HOSE, title="Garden hose"), words, TWICE)

    assert row.embedded_text == "Garden hose Garden hose\nIt does not kink."
    assert (row.title, row.text) == ("Garden hose", "It does not kink.")


async def test_chunks_of_a_publisher_are_embedded_by_the_template_of_their_source(words):
    content = Ready(chunks=(SubmittedChunk(text="It bends.", heading=("Use",)),))
    chunking = TemplateChunking(template="{title} ({brand}) {heading}: {text}")

    [row] = await rows_of(
        changed(content, title="Hose", metadata={"brand": "Acme"}), words, chunking
    )

    assert row.embedded_text == "Hose (Acme) Use: It bends."


async def test_what_is_embedded_is_known_from_the_wire_and_from_the_store(words):
    [row] = await rows_of(changed(HOSE, title="Hose", metadata={"brand": "Acme"}), words, TWICE)
    part = DocumentEnriched(
        document=changed(HOSE).document, batch=changed(HOSE).batch, generation="g", rows=[row]
    )
    [read] = DocumentEnriched.model_validate_json(part.model_dump_json()).rows
    hit = Hit(
        row.id, "k", "shop", "a.md", row.chunk_key, row.born, row.title, row.heading, row.text,
        1.0, row.metadata,
    )  # fmt: skip

    assert read.embedded_text == embedded_text(hit) == row.embedded_text
    assert parted(hit.metadata)[0]["brand"] == "Acme"
    assert CONTEXT not in parted(hit.metadata)[0]


async def test_a_publisher_cannot_say_what_is_embedded(words):
    told = {CONTEXT: '["forged ", ""]', "brand": "Acme"}

    [plain] = await rows_of(changed(HOSE, title="Hose", metadata=told), words, Chunking())
    [row] = await rows_of(changed(HOSE, title="Hose", metadata=told), words, TWICE)

    assert plain.embedded_text == "Hose\nIt does not kink."
    assert row.embedded_text == "Hose Hose\nIt does not kink."
    assert "brand" in plain.metadata


async def test_another_template_makes_another_row_only_where_the_model_reads_something_else(words):
    async def key(template, **told):
        event = changed(HOSE, title="Hose", metadata={"brand": "Acme"}, **told)
        [row] = await rows_of(event, words, TemplateChunking(template=template))
        return row.chunk_key

    assert await key("{title} {text}") != await key("{title} {title} {text}")
    assert await key("{title} {text}") != await key("{brand} {text}")
    assert await key("{title} {text}") == await key("{title} {text}{colour}")


@pytest.mark.parametrize("odd", [None, 7, "", "{", "[]", '["a"]', '["a", 1]', '{"a": 1, "b": 2}'])
def test_a_context_that_cannot_be_read_is_none(odd):
    row = PartRow(id="", chunk_key="", born=1, title="T", text="x", metadata={CONTEXT: odd})

    assert row.embedded_text == "T\nx"


def test_ready_chunks_are_cut_where_their_context_leaves_no_room(words):
    around = templated("{title} {title} {text}", "t " * 20, {}, Chunking(tokens=60), words)

    found = ready(
        [SubmittedChunk(text="w " * 100)], title="t " * 20, settings=Chunking(tokens=60),
        tokens=type(words)(60), around=around,
    )  # fmt: skip

    assert all(size <= 60 for size in words.count(["".join(around(())) + c.text for c in found]))
