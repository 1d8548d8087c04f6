from dataclasses import replace

import pytest

from services.gateway.documents.receipts import receipt_answer
from services.gateway.models import ReceiptRequest
from services.gateway.problems import Problem
from shared.domain.ordering import Reason


async def ask(index, receipt, wait=0.0):
    return await index.queries.receipt(ReceiptRequest(receipt=receipt, wait=wait))


async def test_a_settled_revision_is_final_with_its_outcome(index):
    key, first = await index.put("a.md", ["one"])
    _, second = await index.put("a.md", ["one", "two"])
    _, third = await index.put("a.md", ["one", "two"])

    assert (await ask(index, f"{key}-{first}")).outcome == "superseded"
    assert (await ask(index, f"{key}-{second}")).outcome == "superseded"
    answer = await ask(index, f"{key}-{third}")
    assert (answer.state, answer.outcome, answer.final) == ("searchable", "unchanged", True)
    assert answer.chunks == {"total": 2, "embedded": 0, "kept": 2, "removed": 0}
    assert answer.freshness_s == 0.5


async def test_what_is_pending_is_not_final(index):
    key, revision = await index.begin("a.md", ["one"])

    answer = await ask(index, f"{key}-{revision}")

    assert (answer.state, answer.final, answer.outcome) == ("working", False, None)


async def test_a_receipt_of_a_document_nobody_has_begun_is_queued(index):
    answer = await ask(index, f"{'a' * 26}-9")

    assert (answer.state, answer.final) == ("queued", False)


async def test_refusals_removals_and_failures_are_final(index):
    reason = Reason("corrupt", "cannot be read")
    refused, one = await index.put("r.md", [], outcome="refused", reason=reason)
    await index.put("d.md", ["x"])
    removed, two = await index.put("d.md", [])
    _, three = await index.begin("f.md", ["x"])
    failed = await index.fail("f.md")

    answers = [
        await ask(index, f"{refused}-{one}"),
        await ask(index, f"{removed}-{two}"),
        await ask(index, f"{failed}-{three}", wait=30),
    ]
    assert [a.outcome for a in answers] == ["refused", "removed", "failed"]
    assert all(a.final for a in answers)
    assert answers[0].reason.code == "corrupt"
    assert [a.searchable_at is None for a in answers] == [True, True, True]
    assert [a.freshness_s is None for a in answers] == [True, False, True]


async def test_waiting_ends_as_soon_as_the_revision_is_settled(index):
    key, revision = await index.put("a.md", ["one"])

    assert (await ask(index, f"{key}-{revision}", wait=60)).final


async def test_the_first_version_of_a_document_is_inserted_as_its_report_says(index):
    key, revision = await index.put("a.md", ["one"])
    answer = await ask(index, f"{key}-{revision}")

    assert (answer.state, answer.outcome) == ("searchable", "inserted")
    assert answer.searchable_at is not None


def test_an_update_that_only_removes_is_an_update():
    from shared.domain.ordering import Record, Settled

    settled = Settled(5, "indexed", (), 0.0, 1.0, removed=2)
    record = Record("docs", "a.md", settled=settled)

    assert receipt_answer("r", record, 5).outcome == "updated"
    same = replace(record, settled=replace(settled, removed=0))
    assert receipt_answer("r", same, 5).outcome == "unchanged"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "a-b",
        f"{'a' * 26}-",
        f"{'a' * 26}-1x",
        "a" * 300,
        f"{'a' * 26}-{'9' * 4400}",
        f"{'a' * 26}-\u0661",
        f"{'A' * 26}-1",
        f"{'a' * 26}-1\n",
    ],
)
async def test_what_is_no_receipt_is_refused(index, text):
    with pytest.raises(Problem) as refused:
        await ask(index, text)

    assert refused.value.code == "receipt_not_found"
