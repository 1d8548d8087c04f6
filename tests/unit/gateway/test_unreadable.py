"""A change or a record that cannot be read, as status, failures, show, retry and doctor tell it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from gateway_world import NOW

from services.gateway.models import (
    ChecksRequest,
    ChooseRequest,
    DocumentRequest,
    FailuresRequest,
)
from shared.domain.events import Document
from shared.domain.ids import doc_key
from shared.domain.ordering import Failed, fail

AT = datetime.fromtimestamp(NOW, UTC)
KEY = doc_key("docs", "a.md")
NOBODYS = "z" * 26


@dataclass(frozen=True)
class Letter:
    """A dead letter of a change that did not say whose it is."""

    document: Document
    id: int = 5
    stream: str = "DOCS"
    consumer: str = "enricher_g1"
    subject: str = "documents.changed.docs.x"
    code: str = "malformed_event"
    reason: str = "no change"
    deliveries: int = 1
    at: datetime = AT


def letter(source, key):
    return Letter(Document(source=source, path="", doc_key=key, revision=9, changed_at=AT))


async def spoil(index, key=KEY, *, source="docs", data=b"garbage", dropped=False):
    """Garbage instead of the newest change, noted as the validator notes it."""
    at = index.changes.write(source, key, data)
    entry = await index.ledger.get(key)
    reason = (await index.changes.newest(source, key)).change.reason
    failed = Failed(at, "enrich", reason, dropped=dropped)
    noted = fail(entry.record if entry else None, failed, source=source, path="")
    await index.ledger.update(key, noted, expect=entry.at if entry else 0)


class Sweeps:
    def __init__(self):
        self.started = 0

    async def start(self, request):
        self.started += 1
        return "a task"

    async def last(self):
        return None


@pytest.fixture
async def index(index):
    await index.put("a.md", ["one"])
    index.commands = replace(index.commands, sweeper=Sweeps())
    return index


async def listed(index):
    return (await index.queries.failures(FailuresRequest())).failures


async def test_a_change_that_cannot_be_read_is_counted_listed_and_never_in_step(index):
    assert (await index.queries.status()).in_step
    await spoil(index)
    index.looks._last = None

    answer = await index.queries.status()
    (failure,) = await listed(index)
    checks = {c.name: c for c in (await index.queries.checks(ChecksRequest(deep=True))).checks}

    assert not answer.in_step
    assert (answer.documents["unreadable"], answer.documents["failed"]) == (1, 1)
    assert answer.pending_documents == 0
    assert (failure.document, failure.code, failure.stage) == (
        "docs/a.md",
        "malformed_event",
        "enrich",
    )
    assert failure.fix.endswith(f"instep retry {failure.id}")
    assert checks["changes"].level == "WARN"
    assert checks["changes"].fix


async def test_what_a_newer_version_wrote_is_named_so(index):
    await spoil(index, data=b'{"schema": 2}')

    (failure,) = await listed(index)

    assert failure.code == "newer_schema"
    assert "newer version of instep" in failure.reason
    assert failure.fix.startswith("run that version again")


async def test_what_a_person_lets_be_is_in_step_again(index):
    await spoil(index, dropped=True)

    answer = await index.queries.status()

    assert answer.in_step
    assert (answer.documents["unreadable"], answer.documents["dropped"]) == (0, 1)


async def test_a_record_that_cannot_be_read_is_counted_and_never_in_step(index):
    index.ledger.write(KEY, b"garbage")

    answer = await index.queries.status()
    checks = {c.name: c for c in (await index.queries.checks(ChecksRequest(deep=True))).checks}

    assert not answer.in_step
    assert answer.documents["unreadable"] == 1
    assert checks["changes"].level == "WARN"


async def test_without_any_nothing_is_said_of_them(index):
    assert "changes" not in {
        c.name for c in (await index.queries.checks(ChecksRequest(deep=True))).checks
    }


@pytest.mark.parametrize("noted", [True, False], ids=["noted", "not noted yet"])
async def test_show_tells_why_nothing_follows(index, noted):
    if noted:
        await spoil(index)
    else:
        index.changes.write("docs", KEY, b"garbage")

    answer = await index.queries.document(DocumentRequest(name="a.md"))

    assert (answer.state, answer.stale, answer.newest) == ("failed", True, None)
    assert answer.why.startswith("the message ")
    assert answer.fix


async def test_show_knows_a_document_of_which_there_is_only_garbage(index):
    index.changes.write("docs", doc_key("docs", "b.md"), b"garbage")

    answer = await index.queries.document(DocumentRequest(name="b.md"))

    assert (answer.source, answer.path, answer.state) == ("docs", "b.md", "failed")


async def test_a_retry_has_the_file_of_a_folder_read_again(index):
    await spoil(index)
    before = len(index.changes.appended)

    answer = await index.commands.retry(ChooseRequest(ids=("a.md",)))

    assert (answer.done, index.commands.sweeper.started) == (1, 1)
    assert "reads its file again" in answer.items[0].detail
    assert len(index.changes.appended) == before


async def test_a_retry_of_what_was_submitted_says_that_it_has_to_be_sent_anew(index):
    key, _ = await index.put("b.md", ["two"], source="inbox")
    await spoil(index, key, source="inbox")

    answer = await index.commands.retry(ChooseRequest(ids=("inbox/b.md",)))

    assert (answer.done, answer.skipped, index.commands.sweeper.started) == (0, 1, 0)
    assert "send the document anew" in answer.items[0].detail


async def test_a_change_of_no_known_document_is_listed_once_and_can_be_dropped(index):
    index.letters = [letter("docs", NOBODYS)]
    assert [failure.id for failure in await listed(index)] == ["d_5"]
    assert "about" not in (await listed(index))[0].document

    await spoil(index, NOBODYS)
    index.looks._last = None
    (failure,) = await listed(index)
    assert failure.document == f"docs/{NOBODYS}"

    dropped = await index.commands.drop(ChooseRequest(ids=(failure.id,)))
    index.looks._last = None
    assert dropped.done == 1
    assert await listed(index) == ()


async def test_garbage_under_the_key_of_another_source_s_document_is_listed_by_itself(index):
    index.letters = [letter("inbox", KEY)]

    (failure,) = await listed(index)
    shown = await index.queries.document(DocumentRequest(name="a.md"))

    assert (failure.id, failure.doc_key) == ("d_5", None)
    assert "send it again" in failure.fix
    assert shown.state == "searchable"


async def test_a_part_that_is_malformed_is_no_change_that_cannot_be_read(index):
    await index.begin("c.md", ["three"])
    await index.fail("c.md", code="malformed_event")

    answer = await index.queries.status()

    (failure,) = await listed(index)
    assert (answer.documents["failed"], answer.documents["unreadable"]) == (1, 0)
    assert failure.fix.endswith(f"then: instep retry {failure.id}")
