from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from gateway_world import NOW

from services.gateway.models import ChooseRequest, FailuresRequest
from services.gateway.problems import Problem
from shared.events import Document
from shared.identity import doc_key
from shared.ordering import Reason, state

AT = datetime.fromtimestamp(NOW, UTC)


@dataclass(frozen=True)
class Letter:
    id: int
    stream: str = "INTAKE"
    consumer: str = "accept"
    subject: str = "documents.submitted.inbox"
    document: Document | None = None
    code: str = "malformed"
    reason: str = "not an event"
    deliveries: int = 1
    at: datetime = AT


@pytest.fixture
async def troubled(index):
    await index.put("good.md", ["fine"])
    reason = Reason("encrypted", "it is encrypted")
    await index.put("scan.pdf", [], outcome="refused", reason=reason)
    await index.begin("big.csv", ["big"])
    await index.fail("big.csv")
    index.letters = [Letter(7)]
    return index


async def failures(index, **fields):
    return (await index.queries.failures(FailuresRequest(**fields))).failures


async def test_refused_failed_and_lost_messages_are_listed_with_reason_and_remedy(troubled):
    found = {f.document: f for f in await failures(troubled)}

    assert set(found) == {
        "docs/scan.pdf",
        "docs/big.csv",
        "message 7 of documents.submitted.inbox",
    }
    assert found["docs/scan.pdf"].code == "encrypted"
    assert found["docs/big.csv"].fix.endswith(f"instep retry {found['docs/big.csv'].id}")
    assert all(f.reason and f.fix and f.since for f in found.values())


async def test_the_list_is_cut_by_source_and_code(troubled):
    assert [f.code for f in await failures(troubled, code="encrypted")] == ["encrypted"]
    assert [f.source for f in await failures(troubled, source="inbox")] == ["inbox"]


async def test_a_letter_about_a_known_document_is_not_listed_twice(troubled):
    document = Document(source="docs", path="x", doc_key="a" * 26, changed_at=datetime.now(UTC))
    troubled.letters = [Letter(8, document=document)]

    assert len(await failures(troubled)) == 2


async def test_retry_publishes_the_newest_change_again_as_a_repair(troubled):
    before = len(troubled.changes.appended)

    answer = await troubled.commands.retry(ChooseRequest(code="store_error"))

    assert (answer.done, answer.skipped) == (1, 0)
    again = troubled.changes.appended[before:]
    assert [(c.document.path, c.repair) for c in again] == [("big.csv", "gtest")]


async def test_a_dry_run_does_nothing(troubled):
    before = len(troubled.changes.appended)

    answer = await troubled.commands.retry(ChooseRequest(all=True, dry_run=True))

    assert answer.dry_run
    assert answer.done == 3
    assert len(troubled.changes.appended) == before


async def test_drop_forgets_a_failure_and_a_letter_but_not_a_refusal(troubled):
    answer = await troubled.commands.drop(ChooseRequest(all=True))

    assert {item.document: item.done for item in answer.items} == {
        "docs/scan.pdf": False,
        "docs/big.csv": True,
        "message 7 of documents.submitted.inbox": True,
    }
    assert troubled.letters == []


async def test_a_dropped_failure_is_pending_again_and_nothing_left_the_index(troubled):
    answer = await troubled.commands.drop(ChooseRequest(ids=("docs/big.csv",)))
    record = (await troubled.ledger.get(doc_key("docs", "big.csv"))).record

    assert answer.done == 1
    assert state(record).word == "working"
    assert await troubled.store.count() == 2


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "invalid_request"),
        ({"ids": ("f_nosuch",)}, "failure_not_found"),
        ({"ids": ("good.md",)}, "failure_not_found"),
    ],
)
async def test_a_choice_of_nothing_is_refused(troubled, fields, code):
    with pytest.raises(Problem) as refused:
        await troubled.commands.retry(ChooseRequest(**fields))

    assert refused.value.code == code


async def test_a_failure_is_chosen_by_any_of_its_names(troubled):
    failure = (await failures(troubled, code="encrypted"))[0]

    for name in (failure.id, failure.doc_key, "docs/scan.pdf", "scan.pdf"):
        answer = await troubled.commands.retry(ChooseRequest(ids=(name,), dry_run=True))
        assert [item.id for item in answer.items] == [failure.id]
