"""Whatever a document holds, each message and value about it is one that the server takes.

Sizes are UTF-8 bytes of the JSON that is sent: a character takes up to four of them, and one that
JSON escapes takes six.
"""

import asyncio
import json
import random
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from memory_content import MemoryContent
from memory_kv import MemoryShelf

from services.enricher.chunking.chunk import max_chars
from services.enricher.fetch import Load
from services.enricher.parts import parts, revision_of
from services.enricher.prepare import PrepareDocument
from services.host.nats_server.local import MAX_PAYLOAD_BYTES
from services.indexer.index import counts
from services.producer.accept import place
from services.producer.sources.listing_store import KeptListing
from services.producer.submissions import submission
from services.producer.submissions.submission import SourceLimits
from shared.bus.delivery.dead_letters import Origin, outgoing
from shared.bus.jetstream.publish import Outgoing, cloud_headers, wire_bytes
from shared.bus.monitor.watched import Watched
from shared.domain.codecs.record_codec import to_bytes
from shared.domain.errors import DocumentRefused
from shared.domain.events import (
    Batch,
    BatchCompleted,
    Document,
    DocumentChanged,
    DocumentEnriched,
    DocumentFailed,
    DocumentIndexed,
    DocumentNotTaken,
    DocumentRemoved,
    EmbeddingsReady,
    Receipt,
)
from shared.domain.ids import doc_key
from shared.domain.ordering import Failed, Reason, fail, revise, settle, written
from shared.domain.submissions import check_attributes, check_identity, read
from shared.domain.topology import MAX_MESSAGE_BYTES, MAX_PART_BYTES
from shared.formats.blocks import Block, Extracted
from shared.formats.frontmatter import MAX_CHARS, fields
from shared.reading import protocol
from shared.settings import Chunking

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DIMENSIONS = 384
PIECES = (
    "a",
    "é",
    "漢",
    "🤷",
    "\x01",
    '"',
    "\\",
    "a ",
    "漢 ",
    "日本語。",
    "\n\n# 漢\n\n",
    "a: 漢字\n",
    "\t",
)


class Words:
    """A TokenCounter whose tokens are words, however long they are."""

    window = 254

    def offsets(self, text):
        at, found = 0, []
        for word in text.split(" "):
            if word:
                found.append((at, at + len(word)))
            at += len(word) + 1
        return found

    def count(self, texts):
        return [len(text.split()) for text in texts]


def filled(most, pieces=PIECES):
    """Up to `most` characters of a few pieces, each repeated."""
    runs = st.tuples(st.sampled_from(pieces), st.integers(0, most))
    return st.lists(runs, min_size=1, max_size=3).map(
        lambda some: "".join(piece * (times // len(piece)) for piece, times in some)[:most]
    )


def sized(event):
    """Bytes of an event as the server counts them."""
    data = event.model_dump_json().encode()
    headers = cloud_headers(event, event.message_id, "instep") | {"Instep-Work": event.work or ""}
    sent = Outgoing(event.stream, event.subject, data, event.message_id, headers)
    return wire_bytes(data, sent.all_headers())


def fits(event):
    letter = outgoing(
        Origin(event.stream, "embedder_bulk_generation", 2**53, 2**53),
        subject=event.subject,
        data=event.model_dump_json().encode(),
        headers={"Dlq-Deliveries": "99", "Dlq-Code": "exhausted", "Dlq-Reason": "漢" * 200},
    )
    assert sized(event) <= MAX_MESSAGE_BYTES
    assert wire_bytes(letter.data, letter.all_headers()) <= MAX_MESSAGE_BYTES


def accepted(said):
    """What DOCS gets of a submission. Raises DocumentRefused."""
    event = read(json.dumps(said, ensure_ascii=False).encode(), {})
    _, path = check_identity(event, "docs")
    check_attributes(event)
    checked = submission.check_content(event, SourceLimits())
    bodies = MemoryContent()
    content = checked.content or asyncio.run(place(checked.data, bodies))
    batch = event.batch or Batch(id="b", count=1, source="docs", started_at=NOW)
    change = DocumentChanged(
        document=Document(
            source="docs", path=path, doc_key=doc_key("docs", path), revision=2**53 - 1,
            changed_at=NOW,
        ),
        batch=batch.model_copy(update={"source": "docs"}),
        op="upserted",
        content=content,
        content_hash=checked.content_hash,
        size=checked.size,
        media_type=event.media_type,
        title=event.title,
        metadata=event.metadata,
        source_version=event.source_version,
        intake=2**53,
        repair="generation",
    )  # fmt: skip
    return change, bodies


def travels(change, bodies):
    """Every message and value of a change on its way into the index; how it ended."""
    fits(change)
    prepare = PrepareDocument(Load(bodies), Words(), Chunking())
    try:
        prepared = asyncio.run(prepare(change))
    except DocumentRefused as refusal:
        prepared = refusal
    about = {"document": change.document, "batch": change.batch, "generation": "generation"}
    record = revise(
        None, revision_of(change, prepared, "generation"), source="docs",
        path=change.document.path, now=0.0,
    )  # fmt: skip
    made = parts(**about, pending=record.pending, prepared=prepared, dimensions=DIMENSIONS)
    for part in made:
        fits(part)
        if isinstance(part, DocumentEnriched):
            block = np.zeros((len(part.rows), DIMENSIONS), np.float32)
            fits(
                EmbeddingsReady(
                    **about, rows=part.rows, fingerprint="f" * 64, dims=DIMENSIONS,
                    count=len(part.rows), vectors=EmbeddingsReady.pack(block), lane="bulk",
                )
            )  # fmt: skip
    ends_well(about, record)
    if isinstance(prepared, DocumentRefused):
        return prepared.code
    rows = {row.id for part in made for row in part.rows}
    assert rows == {ref.id(change.document.doc_key) for ref in record.pending.todo}
    return "indexed"


def ends_well(about, record):
    """The events that tell how it ended, and the record in its states."""
    document = about["document"]
    reason = record.pending.reason or Reason("code", "漢" * 200)
    chunks = counts(record, record.pending)
    for event in (
        DocumentIndexed(**about, indexed_at=NOW, freshness_s=1, vector_count=1, chunks=chunks),
        DocumentRemoved(**about, removed_at=NOW, chunks=chunks),
        DocumentNotTaken(**about, code=reason.code, reason=reason.text),
        DocumentFailed(**about, stage="enricher", code=reason.code, reason=reason.text),
        BatchCompleted(batch=about["batch"], generation="generation", completed_at=NOW),
    ):
        fits(event)
    receipt = Receipt(state="refused", document=document, code=reason.code, detail=reason.text)
    assert len(receipt.model_dump_json()) < MAX_MESSAGE_BYTES
    settled = settle(written(record, record.pending.todo, 0), now=0.0)
    failed = fail(
        record, Failed(document.revision, "enricher", reason), source="docs", path=document.path
    )
    for each in (record, settled, failed):
        assert len(to_bytes(each)) <= MAX_MESSAGE_BYTES // 2


front_matter = st.lists(filled(700), max_size=40).map(
    lambda values: "---\n" + "".join(f"k{n}: {v}\n" for n, v in enumerate(values)) + "---\n"
)
texts = st.tuples(st.just("") | front_matter, filled(300_000)).map("".join)
metadata = st.dictionaries(filled(80), filled(3_000), max_size=6)
chunk = st.fixed_dictionaries(
    {"text": filled(60_000)}, optional={"heading": st.lists(filled(200_000), max_size=3)}
)
chunks = chunk.map(lambda one: [one] * (900_000 // len(json.dumps(one))) or [one])
contents = st.one_of(
    texts.map(lambda text: {"text": text}),
    chunks.map(lambda some: {"chunks": some}),
)
attributes = st.fixed_dictionaries(
    {"path": filled(1_100).map(lambda path: f"a{path}.md")},
    optional={
        "title": filled(1_100),
        "metadata": metadata,
        "media_type": filled(210).map("text/markdown; {}".format),
        "batch": filled(210).map(
            lambda name: {
                "id": name, "count": 1, "source": "docs", "format": name[:200],
                "started_at": NOW.isoformat(),
            }
        ),
    },
)  # fmt: skip
JAPANESE = "---\n" + "".join(f"k{n}: {'日本語' * 160}\n" for n in range(32)) + "---\n"


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=contents, more=attributes)
@example(content={"text": JAPANESE + "日本語の文章です。\n\n" * 3_000}, more={"path": "a.md"})
@example(content={"chunks": [{"text": "a"}] * 40_000}, more={"path": "a.md"})
@example(
    content={"chunks": [{"text": "a " * 60_000, "heading": ["漢" * 220_000]}]},
    more={"path": "a.md", "metadata": {"a": "b" * 8_000}},
)
@example(content={"text": '"' * 200_000 + "\x01" * 50_000}, more={"path": "\x01" * 1_000})
def test_a_document_is_refused_or_all_its_messages_fit(content, more):
    try:
        change, bodies = accepted({**content, **more})
    except DocumentRefused:
        return

    assert travels(change, bodies) in {"indexed", "empty", "no_text", "too_large", "unknown_format"}


def test_a_japanese_document_with_much_front_matter_is_indexed():
    text = JAPANESE + "日本語 の 文章 です。\n\n" * 3_000

    assert travels(*accepted({"path": "a.md", "text": text})) == "indexed"


def test_a_row_that_no_message_holds_is_refused_with_its_reason():
    said = {"path": "a.md", "chunks": [{"text": "a", "heading": ["漢" * 200_000]}]}
    change, bodies = accepted(said)

    with pytest.raises(DocumentRefused, match="chunk") as refused:
        asyncio.run(PrepareDocument(Load(bodies), Words(), Chunking())(change))

    assert refused.value.code == "too_large"
    assert travels(change, bodies) == "too_large"


def test_chunks_are_as_large_as_the_message_that_carries_them():
    many = {"path": "a.md", "chunks": [{"text": "a"}] * 40_000}
    japanese = {"path": "a.md", "chunks": [{"text": "日本 " * 80, "heading": ["漢"]}] * 1_000}

    with pytest.raises(DocumentRefused) as refused:
        accepted(many)

    assert refused.value.code == "too_large"
    fits(accepted(japanese)[0])


def test_a_long_reference_is_refused():
    said = {"path": "a.md", "ref": {"url": f"file:///a/{'b' * 10**6}"}}
    event = read(json.dumps(said).encode(), {})

    with pytest.raises(DocumentRefused) as refused:
        submission.check_content(event, SourceLimits(allow_references=("file:///a/",)))

    assert refused.value.code == "too_large"


def test_metadata_counts_as_it_is_sent():
    said = {"path": "a.md", "text": "a", "metadata": {"a": "日" * 2_500}}

    assert accepted(said)[0].metadata == said["metadata"]
    with pytest.raises(DocumentRefused, match="metadata"):
        accepted({**said, "metadata": {"a": "日" * 2_800}})


@pytest.mark.parametrize("character", ["a", "漢", "🤷", '"', "\\"])
def test_all_metadata_that_is_read_of_a_document_is_told_by_the_process_that_reads_it(character):
    keys = {f"{character * 60}{n}": character * 500 for n in range(29)}
    found = Extracted(character * 120, (Block("paragraph", "a"),), fields(keys)[0])
    answer = protocol.Answer(protocol.Question("a.md", None, None, max_chars(Chunking(), Words())))

    for frame in protocol.told(found):
        answer.add(frame)

    assert sum(map(len, found.metadata.values())) > MAX_CHARS * 0.8
    assert answer.extracted().metadata == found.metadata


async def test_paths_are_noted_in_values_that_fit_however_long_they_are():
    shelf = MemoryShelf()
    chance, characters = random.Random(4), list(map(chr, range(0x4E00, 0x9F00)))
    paths = ["".join(chance.choices(characters, k=340)) for _ in range(2_500)]

    await KeptListing(shelf, "docs").intend(paths)
    values = (await shelf.get_many(await shelf.keys("docs.new."))).values()
    kept = KeptListing(shelf, "docs")
    await kept.load()

    assert max(map(len, values)) <= MAX_PART_BYTES
    assert set(kept.entries) == set(paths)


def test_what_is_told_of_a_folder_fits_however_long_its_problems_are():
    odd = "\\udcff" * 4_000
    watched = Watched("docs", 0.0, True, problems={f"{n}{odd}": "漢" * 200 for n in range(50)})

    assert len(watched.encode()) <= MAX_PART_BYTES
    assert json.loads(watched.encode())["problems"]


def test_the_largest_message_of_the_bundled_server_is_that_of_the_code():
    assert MAX_PAYLOAD_BYTES == MAX_MESSAGE_BYTES
