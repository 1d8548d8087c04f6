"""7. Another system sends a message and gets a receipt; the receipt ends in "searchable"."""

from shared.domain.events import DocumentIndexed, DocumentRemoved
from shared.domain.ids import doc_key


async def test_a_submission_is_answered_with_the_revision_that_it_became(house):
    receipt = await house.submit(path="a.md", text="the harbour lantern")
    await house.work()

    assert receipt.state == "queued"
    assert receipt.receipt == f"{receipt.document.doc_key}-{receipt.document.revision}"
    event = house.results[-1]
    assert isinstance(event, DocumentIndexed)
    assert event.document.revision == receipt.document.revision


async def test_chunks_may_come_ready_made(house):
    await house.submit(
        path="product/4711",
        title="Garden hose",
        chunks=[{"text": "It does not kink.", "heading": ["Description"]}],
    )
    await house.work()

    assert house.model.read == ["Garden hose > Description\nIt does not kink."]


async def test_a_deletion_takes_the_document_out(house):
    await house.submit(path="a.md", text="the harbour lantern")
    await house.work()
    await house.submit(op="delete", path="a.md")
    await house.work()

    assert isinstance(house.results[-1], DocumentRemoved)
    assert await house.store.count() == 0


async def test_a_lower_source_version_is_stale_however_late_it_comes(house):
    await house.submit(path="a.md", text="version two", source_version=2)
    late = await house.submit(path="a.md", text="version one", source_version=1)
    await house.work()

    assert late.state == "stale"
    assert await house.search("version") == ["version two"]


async def test_what_cannot_be_taken_is_refused_and_changes_nothing(house):
    await house.submit(path="a.md", text="the harbour lantern")
    refused = await house.submit(path="a.md", ref={"url": "file:///etc/passwd"})
    await house.work()

    assert (refused.state, refused.code) == ("refused", "reference_not_allowed")
    assert await house.search("the") == ["the harbour lantern"]


async def test_an_inactive_document_is_kept_and_not_found_and_comes_back_without_the_model(house):
    await house.submit(path="a.md", text="the harbour lantern")
    await house.work()
    read = len(house.model.read)

    await house.submit(path="a.md", text="the harbour lantern", is_active=False)
    await house.work()

    assert await house.search("lantern") == []
    assert (await house.state("a.md")).word == "inactive"
    assert house.results[-1].is_active is False
    rows = await house.store.ids({doc_key("docs", "a.md"): 2**53})

    await house.submit(path="a.md", text="the harbour lantern", static_score=0.5)
    await house.work()

    assert await house.search("lantern") == ["the harbour lantern"]
    assert await house.store.ids({doc_key("docs", "a.md"): 2**53}) == rows
    assert [text for text in house.model.read[read:] if text != "lantern"] == []
