from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from gateway_world import NOW

from services.gateway.documents.reasons import failure_id, published_as
from services.gateway.models import (
    ChooseRequest,
    DocumentRequest,
    DocumentsRequest,
    FailureRequest,
    FailuresRequest,
)
from services.gateway.problems import Problem
from shared.domain.events import Document
from shared.domain.ids import doc_key
from shared.domain.ordering import Failed, Reason, state

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
    reason = Reason("corrupt", "it is damaged")
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
    assert found["docs/scan.pdf"].code == "corrupt"
    assert found["docs/big.csv"].fix.endswith(f"instep retry {found['docs/big.csv'].id}")
    assert all(f.reason and f.fix and f.since for f in found.values())


async def test_the_list_is_cut_by_source_and_code(troubled):
    assert [f.code for f in await failures(troubled, code="corrupt")] == ["corrupt"]
    assert [f.source for f in await failures(troubled, source="inbox")] == ["inbox"]


async def test_a_letter_about_a_known_document_is_not_listed_twice(troubled):
    document = Document(source="docs", path="x", doc_key="a" * 26, changed_at=datetime.now(UTC))
    troubled.letters = [Letter(8, document=document)]

    assert len(await failures(troubled)) == 2


async def test_what_the_validator_could_not_judge_is_listed_though_the_document_is_well(troubled):
    document = Document(source="docs", path="x", doc_key="a" * 26, changed_at=datetime.now(UTC))
    troubled.letters = [Letter(9, "RESULTS", "validator_g1", document=document, code="poison")]

    [failure] = await failures(troubled, code="poison")

    assert failure.id == "d_9"
    assert "docs/x" in failure.document
    assert "instep failures dismiss d_9" in failure.fix


async def test_retry_publishes_the_newest_change_again_as_a_repair(troubled):
    before = len(troubled.changes.appended)

    answer = await troubled.commands.retry(ChooseRequest(code="exhausted"))

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


async def test_a_dropped_failure_says_so_everywhere_and_nothing_left_the_index(troubled):
    answer = await troubled.commands.drop(ChooseRequest(ids=("docs/big.csv",)))
    again = await troubled.commands.drop(ChooseRequest(ids=("docs/big.csv",)))
    record = (await troubled.ledger.get(doc_key("docs", "big.csv"))).record
    troubled.looks._last = None
    shown = await troubled.queries.document(DocumentRequest(name="big.csv"))
    lines = (await troubled.queries.documents(DocumentsRequest(state="dropped"))).documents
    counted = (await troubled.queries.status()).documents

    assert (answer.done, again.done) == (1, 0)
    assert state(record).word == shown.state == "dropped"
    assert shown.fix.endswith(f"instep retry {failure_id(shown.doc_key)}")
    assert [line.path for line in lines] == ["big.csv"]
    assert (counted["dropped"], counted["failed"]) == (1, 0)
    assert await troubled.store.count() == 2


async def test_dropped_failures_leave_the_list_but_can_still_be_retried_by_name(troubled):
    await troubled.commands.drop(ChooseRequest(ids=("docs/big.csv",)))
    troubled.looks._last = None

    listed = [f.document for f in await failures(troubled)]
    asked = [f.document for f in await failures(troubled, state="dropped")]
    everything = await troubled.commands.retry(ChooseRequest(all=True, dry_run=True))
    named = await troubled.commands.retry(ChooseRequest(ids=("docs/big.csv",)))

    assert "docs/big.csv" not in listed
    assert asked == ["docs/big.csv"]
    assert "docs/big.csv" not in [item.document for item in everything.items]
    assert named.done == 1


async def test_a_retry_never_wins_over_a_newer_change(troubled):
    """The change arrives after the retry has read the newest one, before it appends its copy."""
    log, append = troubled.changes, troubled.changes.append

    async def overtaken(change, **options):
        if change.repair:
            log.append = append
            await troubled.change("big.csv")
        return await append(change, **options)

    log.append = overtaken
    answer = await troubled.commands.retry(ChooseRequest(ids=("docs/big.csv",)))
    newest = await log.newest("docs", doc_key("docs", "big.csv"))

    assert (answer.done, answer.skipped) == (0, 1)
    assert "newer change" in answer.items[0].detail
    assert newest.change.repair is None


async def test_failures_are_grouped_by_reason_with_what_it_means(troubled):
    answer = await troubled.queries.failures(FailuresRequest(limit=1))

    assert {(g.state, g.code, g.count) for g in answer.groups} == {
        ("refused", "corrupt", 1),
        ("failed", "exhausted", 1),
        ("failed", "malformed", 1),
    }
    assert all(group.meaning and group.fix for group in answer.groups)
    assert (len(answer.failures), answer.total) == (1, 3)


@pytest.mark.parametrize(
    ("fields", "chosen"),
    [
        ({"path": "*.csv"}, ["docs/big.csv"]),
        ({"path": "b*", "source": "inbox"}, []),
        ({"stage": "index"}, ["docs/big.csv"]),
        ({"code": "corrupt", "source": "docs"}, ["docs/scan.pdf"]),
    ],
)
async def test_failures_are_chosen_by_what_they_have_in_common(troubled, fields, chosen):
    answer = await troubled.commands.retry(ChooseRequest(**fields, dry_run=True))

    assert [item.document for item in answer.items] == chosen


async def test_a_long_list_is_worked_on_though_some_of_it_is_over_by_then(troubled):
    wanted = ChooseRequest(ids=("docs/big.csv", "docs/healed.md"), lenient=True)

    answer = await troubled.commands.retry(wanted)

    assert [item.document for item in answer.items] == ["docs/big.csv"]


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
    failure = (await failures(troubled, code="corrupt"))[0]

    for name in (failure.id, failure.doc_key, "docs/scan.pdf", "scan.pdf"):
        answer = await troubled.commands.retry(ChooseRequest(ids=(name,), dry_run=True))
        assert [item.id for item in answer.items] == [failure.id]


@pytest.fixture
async def of_every_kind(troubled):
    """Failures of files, of published documents and of messages, some with the same code."""
    reason = Reason("corrupt", "it is damaged")
    await troubled.put("a b.md", [], source="inbox", outcome="refused", reason=reason)
    for source in ("docs", "inbox"):
        key, _ = await troubled.begin("u.md", ["text"], source=source)
        entry = await troubled.ledger.get(key)
        failed = Failed(entry.record.pending.seq, "enrich", Reason("malformed_event", "garbage"))
        record = replace(entry.record, failed=failed)
        await troubled.ledger.update(key, record, expect=entry.at)
    troubled.letters = [Letter(7, code="malformed_event"), Letter(8, code="encrypted")]
    return troubled


async def test_what_a_group_prescribes_is_done_when_it_is_followed(of_every_kind):
    answer = await of_every_kind.queries.failures(FailuresRequest())

    for group in answer.groups:
        members = [f for f in answer.failures if (f.state, f.code) == (group.state, group.code)]
        picked = ChooseRequest(code=group.code, dry_run=True)
        chosen = (await of_every_kind.commands.retry(picked)).items
        may_retry = any(
            f.doc_key and (f.source, f.code) != ("inbox", "malformed_event") for f in members
        )
        prescribed = f"instep retry --code {group.code}" in group.fix
        assert prescribed == (group.state == "failed" and may_retry)
        is_message = any(f.doc_key is None for f in members)
        assert ("instep failures dismiss " in group.fix) == is_message
        if f"instep failures dismiss --code {group.code}" in group.fix:
            assert all(f.doc_key is None for f in answer.failures if f.code == group.code)
        assert {f.id for f in members} <= {item.id for item in chosen}


async def test_malformed_messages_are_dismissed_together_as_the_list_and_retry_advise(index):
    index.letters = [Letter(n, code="malformed_event") for n in range(3)]
    (group,) = (await index.queries.failures(FailuresRequest())).groups
    skipped = await index.commands.retry(ChooseRequest(code="malformed_event"))

    assert group.fix.endswith("then: instep failures dismiss --code malformed_event")
    assert {item.done for item in skipped.items} == {False}
    assert skipped.items[0].detail.endswith("then: instep failures dismiss d_0")
    dismissed = await index.commands.drop(ChooseRequest(code="malformed_event"))
    assert (dismissed.done, dismissed.skipped) == (3, 0)


async def test_the_fix_of_a_refused_document_fits_its_source(of_every_kind):
    answer = await of_every_kind.queries.failures(FailuresRequest())
    fixes = {f.document: f.fix for f in answer.failures}
    shown = await of_every_kind.queries.document(DocumentRequest(name="inbox/a b.md"))
    (group,) = [g for g in answer.groups if g.state == "refused"]

    assert "instep reads it again when it changes" in fixes["docs/scan.pdf"]
    assert "exclude it" in fixes["docs/scan.pdf"]
    assert "publish" not in fixes["docs/scan.pdf"]
    for text in (fixes["inbox/a b.md"], shown.fix):
        assert text.endswith(
            "publish it again; or: instep publish 'a b.md' --source inbox --delete"
        )
        assert "reads it again" not in text
    assert "For files: " in group.fix
    assert "For published documents: " in group.fix


async def test_an_unreadable_change_is_retried_for_a_file_and_published_again_otherwise(
    of_every_kind,
):
    fixes = {f.document: f.fix for f in await failures(of_every_kind)}

    assert "instep retry f_" in fixes["docs/u.md"]
    assert "retry" not in fixes["inbox/u.md"]
    assert "publish it again" in fixes["inbox/u.md"]


@pytest.mark.parametrize(
    ("path", "arguments"),
    [("a.md", "a.md"), ("-x.md", "./-x.md"), ("it's", "'it'\"'\"'s'"), ("", "PATH")],
)
def test_the_arguments_of_a_publish_name_the_document(path, arguments):
    assert published_as("inbox", path) == f"{arguments} --source inbox"


async def test_one_failure_is_shown_by_id_document_or_key(troubled):
    first = (await failures(troubled))[0]

    for name in (first.id, first.document, first.doc_key):
        assert await troubled.queries.failure(FailureRequest(id=name)) == first
