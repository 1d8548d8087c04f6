"""5. Nothing is silent: a document that cannot be indexed has a code, a sentence, and a way out."""

import pytest

from shared.domain.events import DocumentNotTaken
from shared.domain.ids import doc_key
from shared.domain.ordering import Failed, Reason, fail


@pytest.mark.parametrize(
    ("path", "text", "code"),
    [
        ("empty.md", "", "empty"),
        ("rule.md", "---\n\n***", "no_text"),
        ("cut.pdf", "%PDF-1.7", "corrupt"),
    ],
)
async def test_a_refused_document_says_why(house, path, text, code):
    await house.write(path, text)
    await house.work()

    event = house.results[-1]
    assert isinstance(event, DocumentNotTaken)
    assert event.code == code
    assert (await house.state(path)).reason.code == code


async def test_the_reason_never_repeats_the_document(house):
    await house.write("secret.pdf", "%PDF-1.7 the password is hunter2")
    await house.work()

    assert "hunter2" not in house.results[-1].reason


async def test_putting_the_document_right_is_all_that_is_needed(house):
    await house.write("a.md", "")
    await house.work()
    await house.write("a.md", "now it has words")
    await house.work()

    assert (await house.state("a.md")).word == "searchable"


async def test_a_failure_is_noted_until_a_newer_revision_or_a_retry_ends_it(house):
    await house.write("a.md", "words")
    await house.enrich()
    house.parts.clear()  # the embedder gave it up: it is in the dead letters
    key = doc_key("docs", "a.md")
    entry = await house.ledger.get(key)
    seq = entry.record.pending.seq
    note = Failed(seq, "embed", Reason("exhausted", "gave up after 5 deliveries"))
    await house.ledger.update(
        key, fail(entry.record, note, source="docs", path="a.md"), expect=entry.at
    )
    assert (await house.state("a.md")).word == "failed"

    await house.repair("a.md")
    await house.work()

    assert (await house.state("a.md")).word == "searchable"
