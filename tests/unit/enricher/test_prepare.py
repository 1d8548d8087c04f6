"""Which documents are read beside other work, and which apart."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from memory_content import MemoryContent

from services.enricher.fetch import Load
from services.enricher.prepare import LARGE_BYTES, PrepareDocument, described, in_a_thread
from shared.domain.errors import DocumentRefused
from shared.domain.events import (
    Batch,
    Document,
    DocumentChanged,
    Inline,
    Linked,
    Ready,
    Reference,
    SubmittedChunk,
)
from shared.domain.ids import doc_key
from shared.domain.metadata import ORIGINS, parted
from shared.formats.blocks import Block, Extracted
from shared.formats.office import package
from shared.settings import Chunking

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Apart:
    """Reads in a thread and keeps what it was asked."""

    def __init__(self):
        self.asked = []

    async def __call__(self, question, data):
        self.asked.append(question)
        return await in_a_thread(question, data)


def changed(text, path="a.md", **more):
    document = Document(source="docs", path=path, doc_key=doc_key("docs", path), changed_at=NOW)
    batch = Batch(id="b", count=1, source="docs", started_at=NOW)
    content = Inline.of(text if isinstance(text, bytes) else text.encode())
    return DocumentChanged(document=document, batch=batch, op="upserted", content=content, **more)


@pytest.fixture
def apart():
    return Apart()


@pytest.fixture
def prepare(words, apart):
    return PrepareDocument(Load(MemoryContent()), words, Chunking(), read_apart=apart)


async def test_a_small_markdown_file_is_read_here(prepare, apart):
    prepared = await prepare(changed("---\ntitle: T\n---\n# Head\n\nword"))

    assert (prepared.title, [piece.text for piece in prepared.pieces]) == ("T", ["word"])
    assert apart.asked == []


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("<p>word</p>", "a.html"),
        ("<p>word</p>", "a.md"),
        ("word " * 4000, "a.md"),
        (b"w\xf6rd", "a.md"),
    ],
)
async def test_all_else_is_read_apart(prepare, apart, text, path):
    prepared = await prepare(changed(text, path, title="T", media_type=None))

    assert prepared.pieces[0].text.startswith("w")
    (question,) = apart.asked
    assert (question.path, question.title) == (path, "T")
    assert question.max_chars == 12_000 * 220 * 8


@pytest.mark.parametrize("path", ["a.md", "a.txt", "a", "a.docx"])
@pytest.mark.parametrize("first", [b"PK\x03\x04", b"{\\rtf1", b"%PDF-1.4", b"BZh"])
async def test_nothing_is_unpacked_here(words, monkeypatch, first, path):
    """A list of a million parts, or a small part with gigabytes in it, would hold up all others."""

    def opened(data):
        raise AssertionError

    async def read(question, data):
        return Extracted("", (Block("paragraph", "read apart"),), {})

    monkeypatch.setattr(package, "unpack", opened)
    prepare = PrepareDocument(Load(MemoryContent()), words, Chunking(), read_apart=read)

    [piece] = (await prepare(changed(first + b" words", path))).pieces

    assert piece.text == "read apart"


async def test_a_refusal_comes_from_there_too(prepare, apart):
    with pytest.raises(DocumentRefused) as caught:
        await prepare(changed("<script>word</script>", "a.html"))

    assert caught.value.code == "no_text"


class Busy:
    """Loads and reads, and counts how many documents are in hand at a time."""

    def __init__(self, root, meet):
        self.load = Load(MemoryContent(), {"docs": [f"file://{root}/"]})
        self.size = self.load.size
        self.meet = meet
        self.hands = Counter()
        self.most = Counter()

    async def __call__(self, event):
        async with self.in_hand("loaded"):
            return await self.load(event)

    async def read(self, question, data):
        async with self.in_hand("read"):
            return Extracted("", (Block("paragraph", "word"),), {})

    @asynccontextmanager
    async def in_hand(self, how):
        self.hands[how] += 1
        self.most[how] = max(self.most[how], self.hands[how])
        await self.meet()
        yield
        self.hands[how] -= 1


async def others_may_come():
    """None of them is awaited: whether they come is the question."""
    await asyncio.sleep(0.02)


def linked(path, size=None):
    content = Linked(ref=Reference(url=f"file://{path}", size=size))
    return changed("", path.name, size=size or 0).model_copy(update={"content": content})


LARGE = "<p>" + "x" * LARGE_BYTES


@pytest.mark.parametrize("size", [None, 10, len(LARGE)], ids=["unknown", "a lie", "known"])
@pytest.mark.parametrize("kind", ["reference", "inline"])
async def test_large_documents_take_turns_whatever_their_message_says(words, tmp_path, kind, size):
    """100 MB need up to 60 times as much while they are cut: never eight at once."""
    file = tmp_path / "large.html"
    file.write_text(LARGE)
    event = linked(file, size) if kind == "reference" else changed(LARGE, "a.html", size=size or 0)
    busy = Busy(tmp_path, others_may_come)
    one = PrepareDocument(busy, words, Chunking(), read_apart=busy.read)
    await asyncio.gather(*(one(event) for _ in range(4)))

    assert busy.most["read"] == 1
    assert busy.most["loaded"] == 1 or kind == "inline"


async def test_small_documents_do_not_wait_for_each_other(words, tmp_path):
    file = tmp_path / "small.html"
    file.write_text("<p>word")
    busy = Busy(tmp_path, asyncio.Barrier(4).wait)
    one = PrepareDocument(busy, words, Chunking(), read_apart=busy.read)
    async with asyncio.timeout(60):
        await asyncio.gather(*(one(linked(file)) for _ in range(4)))

    assert busy.most == {"loaded": 4, "read": 4}


GERMAN = "Die Pumpe muss abgeschaltet werden, bevor jemand das Ventil \u00f6ffnet."


def test_the_publisher_wins_over_the_document_and_every_value_has_an_origin():
    blocks = (Block("paragraph", GERMAN),)
    found = Extracted("T", blocks, {"author": "Ada", "date": "2026"}, {"author": "front matter"})
    event = changed("", title="Given", metadata={"author": "Grace", "team": "pumps"})

    metadata, origins = parted(described(found, event))

    assert metadata == {"author": "Grace", "date": "2026", "team": "pumps", "language": "de"}
    assert origins == {
        "author": "publisher",
        "team": "publisher",
        "title": "publisher",
        "language": "guessed",
    }


OWN = {"title": "another", "encoding": "another", ORIGINS: '{"meta": ["team"]}', "team": "pumps"}
"""Metadata with the names that origins have for the document itself, and a claim."""


def test_metadata_named_as_the_title_or_the_encoding_claims_no_origin_of_theirs():
    found = Extracted("T", (), {}, {"title": "heading", "encoding": "guessed: cp1252"})

    metadata, origins = parted(described(found, changed("", metadata=OWN)))

    assert metadata.items() >= (OWN.items() - {(ORIGINS, OWN[ORIGINS])})
    assert (origins["title"], origins["encoding"]) == ("heading", "guessed: cp1252")
    assert origins["team"] == "publisher"


async def test_front_matter_named_as_the_encoding_claims_no_origin_of_it(prepare):
    [piece] = (prepared := await prepare(changed("---\nencoding: x\n---\nword"))).pieces
    metadata, origins = parted(prepared.metadata)

    assert (metadata["encoding"], piece.text) == ("x", "word")
    assert "encoding" not in origins


async def test_ready_chunks_have_their_publisher_as_origin_whatever_their_metadata_claim(prepare):
    ready = changed("", title="T", metadata=OWN).model_copy(
        update={"content": Ready(chunks=[SubmittedChunk(text="word")])}
    )

    _, origins = parted((await prepare(ready)).metadata)

    assert origins == {"title": "publisher", "team": "publisher"}


def test_a_language_that_the_document_tells_is_not_guessed():
    found = Extracted("", (Block("paragraph", GERMAN),), {"language": "nl"}, {"language": "meta"})

    metadata, origins = parted(described(found, changed("")))

    assert (metadata["language"], origins["language"]) == ("nl", "meta")


def test_program_code_does_not_decide_the_language():
    code = Block("code", "for every line of the file print the whole line again and again")
    found = Extracted("", (code, Block("paragraph", GERMAN)), {})

    assert described(found, changed(""))["language"] == "de"
