"""Which documents are read beside other work, and which apart."""

from datetime import UTC, datetime

import pytest

from services.enricher.load import Load
from services.enricher.prepare import PrepareDocument, in_a_thread
from shared.content.memory import MemoryContent
from shared.errors import DocumentRefused
from shared.events import Batch, Document, DocumentChanged, Inline
from shared.identity import doc_key
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


async def test_a_refusal_comes_from_there_too(prepare, apart):
    with pytest.raises(DocumentRefused) as caught:
        await prepare(changed("<script>word</script>", "a.html"))

    assert caught.value.code == "no_text"


async def test_large_documents_take_turns(prepare):
    import asyncio

    running, most = 0, 0

    async def slow(question, data):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return await in_a_thread(question, data)

    one = PrepareDocument(prepare.load, prepare.tokens, Chunking(), read_apart=slow)
    await asyncio.gather(*(one(changed("<p>x", "a.html", size=3_000_000)) for _ in range(3)))

    assert most == 1
