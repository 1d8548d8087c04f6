"""Sources with chunking of their own, and what happens when it changes."""

from datetime import UTC, datetime
from typing import get_args

import pytest
from memory_change_log import MemoryChangeLog
from memory_kv import MemoryShelf
from memory_ledger import MemoryLedger

from services.enricher.recut import VERSIONS, Recut, changed, in_force, read_otherwise
from shared.domain.events import Batch, Document, DocumentChanged, Inline
from shared.domain.formats import Format
from shared.domain.ids import doc_key
from shared.domain.ordering import Record, Settled
from shared.formats.extract import BINARY, named_format
from shared.observe.progress import Progress
from shared.settings import Chunking, SourceChunking

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DEFAULT = Chunking()
SMALL = Chunking(tokens=100)
FORMATS = set(get_args(Format))


def test_a_source_overrides_what_it_names_and_takes_the_rest():
    force = in_force(DEFAULT, {}, {"docs": SourceChunking(kind="fixed"), "wiki": SourceChunking()})

    assert force == {"docs": Chunking(kind="fixed")}


def test_what_is_noted_stays_for_a_source_that_this_process_does_not_know():
    assert in_force(DEFAULT, {"docs": SMALL}, {"wiki": SourceChunking()}) == {"docs": SMALL}


def test_an_override_that_is_taken_out_of_the_settings_is_over():
    assert in_force(DEFAULT, {"docs": SMALL}, {"docs": SourceChunking()}) == {}


def test_a_source_has_changed_when_it_gets_loses_or_exchanges_its_chunking():
    assert changed({}, {"docs": SMALL}, DEFAULT) == {"docs"}
    assert changed({"docs": SMALL}, {}, DEFAULT) == {"docs"}
    assert changed({"docs": SMALL}, {"docs": Chunking(tokens=90)}, DEFAULT) == {"docs"}
    assert changed({"docs": SMALL}, {"docs": SMALL, "wiki": DEFAULT}, DEFAULT) == set()


async def publish(log, ledger, source, path, outcome="indexed", media_type=None):
    key = doc_key(source, path)
    document = Document(source=source, path=path, doc_key=key, changed_at=NOW)
    batch = Batch(id="b", count=1, source=source, started_at=NOW)
    change = DocumentChanged(
        document=document,
        batch=batch,
        op="upserted",
        content=Inline.of(b"a text"),
        media_type=media_type,
    )
    sequence = await log.append(change, expect=0, message_id=key)
    settled = Settled(sequence, outcome, (), 0.0, 0.0)
    await ledger.update(key, Record(source, path, settled), expect=0)
    return key, sequence


async def test_only_the_documents_of_the_changed_source_are_cut_again_and_only_once():
    log, ledger, shelf, progress = MemoryChangeLog(), MemoryLedger(), MemoryShelf(), Progress()
    key, before = await publish(log, ledger, "docs", "a.md")
    other, unmoved = await publish(log, ledger, "wiki", "a.md")
    gone, removed = await publish(log, ledger, "docs", "gone.md", outcome="removed")
    await Recut("g1", DEFAULT, MemoryLedger(), log, shelf, progress)({})
    recut = Recut("g1", DEFAULT, ledger, log, shelf, progress)
    own = {"docs": SourceChunking(tokens=100)}

    first = await recut(own)
    after = (await log.newest("docs", key)).sequence
    second = await recut(own)

    assert first == second == {"docs": SMALL}
    assert after > before
    assert (await log.newest("docs", key)).sequence == after
    assert (await log.newest("docs", key)).change.repair == "g1"
    assert (await log.newest("wiki", other)).sequence == unmoved
    assert (await log.newest("docs", gone)).sequence == removed


def test_documents_without_a_noted_version_were_read_otherwise():
    assert read_otherwise(None, VERSIONS) == FORMATS
    assert read_otherwise(7, VERSIONS) == FORMATS
    assert read_otherwise(dict(VERSIONS), VERSIONS) == set()


def test_what_an_older_version_read_as_plain_text_is_read_again_by_its_own_reader():
    old = ("text", "markdown", "html", "csv", "pdf", "docx", "pptx", "sheets", "odt", "epub", "rtf")
    noted = {name: VERSIONS[name] for name in (*old, "cutter")}

    again = read_otherwise(noted, VERSIONS)

    assert again == {"mail", "notebook", "json", "xml", "settings", "code", "rst", "adoc"}
    assert {named_format(f"a{ending}", None) for ending in (".rst", ".adoc", ".py")} <= again


def test_another_reader_concerns_its_format_and_another_cutter_all():
    older = {**VERSIONS, "html": VERSIONS["html"] - 1}

    assert read_otherwise(older, VERSIONS) == {"html"}
    assert read_otherwise({**VERSIONS, "cutter": 0}, VERSIONS) == FORMATS


async def test_documents_of_an_older_reader_are_read_again_once_and_others_are_not():
    log, ledger, shelf, progress = MemoryChangeLog(), MemoryLedger(), MemoryShelf(), Progress()
    keys = {}
    for path, media_type in (
        ("a.md", None),
        ("b.html", None),
        ("c", "text/html; charset=utf-8"),
        ("d.html", "text/markdown"),
    ):
        keys[path], _ = await publish(log, ledger, "docs", path, media_type=media_type)
    before = Recut("g1", DEFAULT, ledger, log, shelf, progress, {**VERSIONS, "html": 1})
    now = Recut("g1", DEFAULT, ledger, log, shelf, progress, {**VERSIONS, "html": 2})
    await before({})
    first = {path: (await log.newest("docs", key)).sequence for path, key in keys.items()}

    await now({})
    second = {path: (await log.newest("docs", key)).sequence for path, key in keys.items()}
    await now({})
    third = {path: (await log.newest("docs", key)).sequence for path, key in keys.items()}

    assert {path for path in keys if second[path] > first[path]} == {"b.html", "c"}
    assert third == second
    assert (await log.newest("docs", keys["b.html"])).change.repair == "g1"


@pytest.mark.parametrize("format_", sorted(BINARY))
async def test_a_document_whose_name_tells_no_format_is_read_again_by_a_new_reader_of_bytes(
    format_,
):
    log, ledger, shelf, progress = MemoryChangeLog(), MemoryLedger(), MemoryShelf(), Progress()
    key, _ = await publish(log, ledger, "docs", "paper")
    other, _ = await publish(log, ledger, "docs", "a", media_type="application/x-paper")
    plain, _ = await publish(log, ledger, "docs", "a.md")
    before = Recut("g1", DEFAULT, ledger, log, shelf, progress, {**VERSIONS, format_: 1})
    now = Recut("g1", DEFAULT, ledger, log, shelf, progress, {**VERSIONS, format_: 2})
    await before({})
    first = [(await log.newest("docs", one)).sequence for one in (key, other, plain)]

    await now({})
    second = [(await log.newest("docs", one)).sequence for one in (key, other, plain)]

    assert [b > a for a, b in zip(first, second, strict=True)] == [True, True, False]


async def test_the_person_is_told_how_many_documents_are_read_again():
    log, ledger, shelf, progress = MemoryChangeLog(), MemoryLedger(), MemoryShelf(), Progress()
    said = []
    progress.listeners.append(said.append)
    for n in range(3):
        await publish(log, ledger, "docs", f"{n}.md")

    await Recut("g1", DEFAULT, ledger, log, shelf, progress)({})

    [notice] = said
    assert "3 are read again" in str(notice)


async def test_what_an_older_reader_refused_is_read_again_and_what_was_removed_is_not():
    log, ledger, shelf, progress = MemoryChangeLog(), MemoryLedger(), MemoryShelf(), Progress()
    refused, before = await publish(log, ledger, "docs", "a.md", outcome="refused")
    gone, removed = await publish(log, ledger, "docs", "gone.md", outcome="removed")

    await Recut("g1", DEFAULT, ledger, log, shelf, progress)({})

    assert (await log.newest("docs", refused)).sequence > before
    assert (await log.newest("docs", gone)).sequence == removed
