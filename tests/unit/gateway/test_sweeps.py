"""The sweep as people and programs ask for it."""

from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from services.cli.terminal import Terminal
from services.cli.text import status as status_text
from services.cli.text import sweep as text
from services.gateway.app import build_app
from services.gateway.status.sweeps import answer

NOTE = {
    "at": "2026-01-01T12:00:00+00:00", "took_s": 0.4, "dry_run": False, "documents": 3, "rows": 6,
    "missing": 0, "extra": 0, "damaged": 0, "lost": 0, "stuck": 0, "unknown": 0,
    "beyond_repair": 0, "held": 0, "resubmitted": 0, "processed": 0, "failed": 0, "samples": {},
    "audits": [],
}  # fmt: skip
AUDIT = {"source": "docs", "files": 3, "submitted": 0, "removed": 0, "held": 0, "error": ""}


class Sweeps:
    def __init__(self, **changes):
        self.note = NOTE | changes
        self.asked = []

    async def now(self, request):
        self.asked.append(request)
        return answer(self.note | {"dry_run": request.dry_run})

    async def start(self, request):
        self.asked.append(request)
        return "abc123"

    async def last(self):
        return answer(self.note)


@pytest.fixture
def sweeps():
    return Sweeps(missing=1, resubmitted=1, processed=1)


@pytest.fixture
async def client(index, sweeps):
    index.queries.sweeper = sweeps
    commands = replace(index.commands, sweeper=sweeps)
    async with TestClient(TestServer(build_app(index.queries, commands))) as client:
        yield client


async def test_embeddings_are_generated_in_the_background(client, sweeps):
    response = await client.post("/api/tasks/generate-embeddings", json={"batch_size": 50})

    assert response.status == 202
    assert await response.json() == {
        "task_name": "enrich.generate_embeddings",
        "status": "queued",
        "message": "Task queued with ID: abc123",
    }
    assert sweeps.asked[0].batch_size == 50


async def test_a_batch_has_a_hundred_documents_unless_said_otherwise(client, sweeps):
    await client.post("/api/tasks/generate-embeddings")

    assert sweeps.asked[0].batch_size == 100


@pytest.mark.parametrize("size", [0, 10_001, "many"])
async def test_an_impossible_batch_is_refused(client, size):
    for address in ("/api/tasks/generate-embeddings", "/api/v1/sweep"):
        response = await client.post(address, json={"batch_size": size})

        assert response.status == 422
        assert (await response.json())["code"] == "invalid_request"


async def test_a_sweep_answers_with_its_numbers(client, sweeps):
    body = {"dry_run": True, "batch_size": 7}
    response = await client.post("/api/v1/sweep", json=body)
    found = await response.json()

    assert response.status == 200
    assert (found["missing"], found["dry_run"], found["clean"]) == (1, True, False)
    assert (sweeps.asked[0].batch_size, sweeps.asked[0].force) == (7, False)


async def test_the_status_tells_of_the_last_one(client):
    found = await (await client.get("/api/v1/status")).json()

    assert found["last_sweep"] == {
        "at": "2026-01-01T12:00:00Z",
        "repaired": 1,
        "needs_you": False,
    }
    lines = status_text.lines(found, Terminal(), now=1767268860.0)
    assert "last sweep 1 min ago, repaired 1 document" in lines


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ({}, "nothing to repair"),
        ({"resubmitted": 2}, "repaired 2 documents"),
        ({"audits": [AUDIT | {"held": 30}]}, "nothing to repair"),
        ({"audits": [AUDIT | {"error": "it is gone"}]}, "nothing to repair"),
        ({"beyond_repair": 1}, "repaired nothing; it left differences that need you: "),
        ({"held": 1, "resubmitted": 1}, "repaired 1 document; it left differences that need you: "),
    ],
)
async def test_the_status_blames_the_sweep_for_no_more_than_it_left(client, sweeps, last, said):
    """Held removals are in the status as they are now, so they may be over since the sweep."""
    same = dict.fromkeys(("missing", "resubmitted", "beyond_repair", "held"), 0) | {"audits": []}
    sweeps.note = sweeps.note | same | last

    found = await (await client.get("/api/v1/status")).json()
    line = text.line(found["last_sweep"], "1 min")

    command = "instep sweep --dry-run shows them" if said.endswith(": ") else ""
    assert line == f"last sweep 1 min ago, {said}{command}"


async def test_a_gateway_without_a_validator_says_so(index):
    async with TestClient(TestServer(build_app(index.queries, index.commands))) as client:
        response = await client.post("/api/v1/sweep")

        assert response.status == 503
        assert (await (await client.get("/api/v1/status")).json())["last_sweep"] is None


@pytest.mark.parametrize(
    ("changes", "clean", "needs_you"),
    [
        ({}, True, False),
        ({"missing": 1}, False, False),
        ({"beyond_repair": 1}, False, True),
        ({"held": 2, "unknown": 2}, False, True),
        ({"failed": 1, "lost": 1}, False, True),
        ({"audits": [AUDIT]}, True, False),
        ({"audits": [AUDIT | {"submitted": 2}]}, False, False),
        ({"audits": [AUDIT | {"held": 2}]}, False, True),
        ({"audits": [AUDIT | {"error": "no such folder"}]}, False, True),
    ],
)
def test_when_everything_agrees_and_when_a_person_is_needed(changes, clean, needs_you):
    found = answer(NOTE | changes)

    assert (found.clean, found.needs_you) == (clean, needs_you)


def lines(**changes):
    return text.lines(answer(NOTE | changes).model_dump(mode="json"), Terminal())


def test_what_agrees_is_two_lines():
    assert lines() == ["compared 3 documents and 6 rows in 0.40 s", "everything agrees"]


def test_what_differed_is_told_with_some_paths():
    samples = {"missing": tuple(f"docs/{n}.md" for n in range(5))}
    shown = lines(
        missing=5, samples=samples, resubmitted=4, processed=2, failed=1,
        audits=[AUDIT | {"submitted": 1, "removed": 2}],
    )  # fmt: skip

    assert shown[1:] == [
        "  5 rows in the ledger, and missing in the store",
        "    docs/0.md",
        "    docs/1.md",
        "    docs/2.md",
        "    and 2 more",
        "  docs: 1 file read again, 2 documents removed",
        "2 documents put right; 1 document failed: instep failures; "
        "1 document sent again, not done yet: instep status",
    ]


def test_a_dry_run_says_that_nothing_was_changed():
    shown = lines(extra=1, dry_run=True, audits=[AUDIT | {"removed": 2}])

    assert shown[1:] == [
        "  1 row in the store, and unknown to the ledger",
        "  docs: 2 documents would be removed",
        "nothing was changed (--dry-run)",
    ]


def test_names_of_documents_cannot_move_the_cursor():
    shown = lines(missing=1, samples={"missing": ("docs/\x1b[2Jevil.md",)})

    assert "\x1b" not in "\n".join(shown)
