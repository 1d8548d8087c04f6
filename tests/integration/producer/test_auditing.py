"""A folder against DOCS and the ledger, when one of the three has lost something."""

import asyncio
import zlib
from datetime import UTC, datetime

import pytest
from intake_door import no_web
from watched import SOURCE, Watched

from services.producer.submissions.intake import AcceptSubmission
from shared.domain.ids import doc_key
from shared.domain.ordering import Record, RowRef, Settled
from shared.ports import Audit, Delivery
from shared.repair import resubmit


@pytest.fixture
async def docs(tmp_path):
    """30 documents, accepted and indexed."""
    docs = Watched(tmp_path / "docs")
    for n in range(30):
        docs.write(f"{n:02}.md", str(n))
    await docs.once()
    await docs.settle()
    return docs


async def audited(docs, *, dry_run=False):
    async with docs.running():
        (audit,) = await docs.audit(dry_run=dry_run)
    return audit


async def submit(docs, number, path, text):
    async def reply(inbox, receipt):
        pass

    accept = AcceptSubmission(
        "g1", docs.log, docs.bodies, docs.batches, reply, lambda: datetime.now(UTC), no_web
    )
    data = b'{"path": "%s", "text": "%s"}' % (path.encode(), text.encode())
    await accept(data, Delivery(number, subject=f"documents.submitted.{SOURCE}"))


async def test_what_agrees_is_left_alone_and_counted(docs):
    before = len(docs.log.appended)

    assert await audited(docs, dry_run=True) == Audit(SOURCE, files=30)
    assert await audited(docs) == Audit(SOURCE, files=30)
    assert len(docs.log.appended) == before


async def test_files_deleted_while_the_listing_was_lost_leave_the_index(docs):
    docs.listings._values.clear()
    (docs.root / "03.md").unlink()
    (docs.root / "04.md").unlink()
    await docs.once()

    assert len(docs.held()) == 28
    assert not {"03.md", "04.md"} & docs.held().keys()
    assert len(docs.log.appended) == 32


@pytest.mark.parametrize("value", [b"", b"no shard", zlib.compress(b"[2, []]")])
async def test_files_deleted_behind_a_damaged_part_of_the_listing_leave_the_index(docs, value):
    for name in [name for name in docs.listings._values if name.count(".") == 1][::2]:
        if not name.endswith((".held", ".root")):
            docs.listings._values[name] = value
    for n in range(5):
        (docs.root / f"{n:02}.md").unlink()
    await docs.once()

    assert sorted(docs.held()) == [f"{n:02}.md" for n in range(5, 30)]


async def test_a_lost_part_of_the_listing_is_noticed_by_the_audit(docs):
    for name in [name for name in docs.listings._values if name.count(".") == 1][::2]:
        del docs.listings._values[name]
    for n in range(5):
        (docs.root / f"{n:02}.md").unlink()
    async with docs.running():
        before = len(docs.held())
        (planned,) = await docs.audit(dry_run=True)
        untouched = len(docs.held())
        (audit,) = await docs.audit()

    assert before == untouched > 25
    assert planned.removed == audit.removed == before - 25
    assert len(docs.held()) == 25


async def test_most_documents_without_a_file_are_held_though_the_listing_was_lost(docs):
    docs.listings._values.clear()
    for n in range(25):
        (docs.root / f"{n:02}.md").unlink()
    async with docs.running() as watch:
        (planned,) = await docs.audit(dry_run=True)
        (audit,) = await docs.audit()
        held = watch.held.vanished
        kept = len(docs.held())
        await watch.release()

    assert (planned, audit) == (Audit(SOURCE, 5, held=25), Audit(SOURCE, 5, held=25))
    assert (held, kept, len(docs.held())) == (25, 30, 5)


async def test_a_file_that_docs_lost_is_accepted_again(docs):
    async with docs.running():
        del docs.log._newest[f"{SOURCE}.{doc_key(SOURCE, '03.md')}"]
        (planned,) = await docs.audit(dry_run=True)
        (audit,) = await docs.audit()

    assert (planned.submitted, audit.submitted) == (1, 1)
    assert [c.document.path for c in docs.log.appended][30:] == ["03.md"]


async def test_what_was_deleted_while_docs_was_lost_is_told_all_the_same(docs):
    quiet = {"watch": "poll", "poll": 3600.0}  # no event may be faster than the plan
    docs.settings = docs.settings.model_copy(update=quiet)
    async with docs.running():
        docs.log._newest.clear()
        (docs.root / "03.md").unlink()
        (planned,) = await docs.audit(dry_run=True)
        (audit,) = await docs.audit()
    told = {(c.document.path, c.op) for c in docs.log.appended[30:]}

    assert ("03.md", "deleted") in told
    assert (planned.submitted, planned.removed) == (29, 1)
    assert audit.submitted == 29
    assert len(told) == 30


async def test_a_document_that_only_the_ledger_knows_is_removed_when_the_listing_was_lost(docs):
    record = Record(SOURCE, "old.md", Settled(5, "indexed", (RowRef("a" * 26, 5),), 0.0, 0.0))
    await docs.ledger.update(doc_key(SOURCE, "old.md"), record, expect=0)
    ordinary = await audited(docs)
    docs.listings._values.clear()
    await docs.once()
    last = docs.log.appended[-1]

    assert ordinary == Audit(SOURCE, files=30)  # DOCS has lost nothing else: the ledger is not read
    assert (last.op, last.document.path) == ("deleted", "old.md")


async def test_removed_documents_are_no_doubt_of_an_audit(docs):
    async with docs.running():
        (docs.root / "03.md").unlink()
        await docs.audit()
        await docs.settle()
        before = len(docs.log.appended)
        asked = []
        inner = docs.log.newest
        docs.log.newest = lambda source, key: asked.append(key) or inner(source, key)
        audits = [*await docs.audit(), *await docs.audit(dry_run=True)]

    assert audits == [Audit(SOURCE, files=29)] * 2
    assert (asked, len(docs.log.appended)) == ([], before)


async def test_a_content_that_is_older_in_docs_is_accepted_again(docs):
    kept = dict(docs.log._newest)
    async with docs.running():
        docs.write("03.md", "newer")
        docs.write("04.md", "newer too")
        await docs.audit()
        docs.log._newest = kept
        (audit,) = await docs.audit()

    assert audit.submitted == 2
    assert (docs.held()["03.md"], docs.held()["04.md"]) == ("newer", "newer too")


async def test_a_repair_is_no_difference_and_costs_one_question(docs):
    asked = []
    inner = docs.log.newest
    async with docs.running():
        await resubmit(docs.log, SOURCE, doc_key(SOURCE, "03.md"), generation="g1")
        before = len(docs.log.appended)
        docs.log.newest = lambda source, key: asked.append(key) or inner(source, key)
        audits = [*await docs.audit(), *await docs.audit()]

    assert audits == [Audit(SOURCE, files=30)] * 2
    assert len(docs.log.appended) == before
    assert asked == [doc_key(SOURCE, "03.md")]


async def test_submitted_documents_are_not_the_folder_s(docs):
    async with docs.running():
        await submit(docs, 1, "pushed.md", "by somebody")
        await submit(docs, 2, "03.md", "otherwise")
        await docs.settle()
        audits = [*await docs.audit(), *await docs.audit(dry_run=True)]
        texts = docs.held()["pushed.md"], docs.held()["03.md"]
    docs.listings._values.clear()
    await docs.once()

    assert audits == [Audit(SOURCE, files=30)] * 2
    assert texts == ("by somebody", "otherwise")
    assert docs.held()["pushed.md"] == "by somebody"


async def test_a_path_that_is_not_its_documents_own_is_not_entered(docs):
    change = docs.log.appended[0]
    document = change.document.model_copy(update={"doc_key": doc_key(SOURCE, "x"), "path": "../x"})
    await docs.log.append(
        change.model_copy(update={"document": document}), expect=0, message_id="forged"
    )

    assert await audited(docs) == Audit(SOURCE, files=30)


async def test_an_edit_during_the_audit_is_accepted_once(docs):
    async with docs.running():
        docs.write("03.md", "edited")
        docs.write("new.md", "new")
        (docs.root / "04.md").unlink()
        (audit,) = await docs.audit()

    assert (audit.files, docs.held()["03.md"], len(docs.held())) == (30, "edited", 30)
    assert len(docs.log.appended) == 33


async def test_a_folder_that_cannot_be_listed_is_told_and_nothing_is_done(docs, eventually):
    async with docs.running():
        docs.root.rename(docs.root.parent / "away")
        audits = [*await docs.audit(), *await docs.audit(dry_run=True)]
        health = docs.sources[SOURCE]
        await eventually(lambda: health.error)
        (docs.root.parent / "away").rename(docs.root)
        await eventually(lambda: not health.error)

    assert [a.error for a in audits] == [f"{docs.root}: no such file or directory"] * 2
    assert [(a.files, a.removed, a.held) for a in audits] == [(0, 0, 0)] * 2
    assert len(docs.held()) == 30


async def test_a_bus_that_is_away_ends_the_audit_with_its_error(docs):
    from shared.domain.errors import BusUnavailable

    async with docs.running():

        async def down(source, key):
            raise BusUnavailable("down")

        docs.log.newest = down
        docs.log._newest.clear()
        async with asyncio.timeout(120):
            with pytest.raises(BusUnavailable):
                await docs.audit(dry_run=True)


async def test_a_file_that_was_once_submitted_is_removed_with_it_though_the_listing_was_lost(docs):
    async with docs.running():
        await submit(docs, 2, "03.md", "otherwise")
        docs.write("03.md", "edited later")
        await docs.audit()
        await docs.settle()
    docs.listings._values.clear()
    (docs.root / "03.md").unlink()
    await docs.once()

    assert "03.md" not in docs.held()
    assert (docs.log.appended[-1].op, docs.log.appended[-1].intake) == ("deleted", 2)
