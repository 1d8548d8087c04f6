"""The way into DOCS: p01 to p10 of the protocol over any order, crash and lost answer."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intake_door import EPOCH, Door
from memory_change_log import MemoryChangeLog

from services.producer.submissions.submission import SourceLimits
from shared.domain.errors import BusUnavailable, MalformedEvent
from shared.domain.ids import doc_key
from shared.domain.submissions import stale
from shared.ports import Delivery
from shared.repair import resubmit

KEY = doc_key("inbox", "a.md")
NESTED = b'{"data":' + b"[" * 100_000
BATCH = {"id": "n", "count": 1, "source": "inbox", "started_at": "2026-01-01T00:00:00Z"}


@pytest.fixture
def door():
    return Door()


# -- any history -----------------------------------------------------------------------------------


class Unsteady(MemoryChangeLog):
    """Stops before each call, and may lose the answer of a publish that was stored."""

    def __init__(self) -> None:
        super().__init__()
        self.lose_answer = False

    async def newest(self, source, doc_key):
        await asyncio.sleep(0)
        return await super().newest(source, doc_key)

    async def append(self, change, *, expect, message_id):
        await asyncio.sleep(0)
        sequence = await super().append(change, expect=expect, message_id=message_id)
        if self.lose_answer:
            self.lose_answer = False
            raise BusUnavailable("no answer")
        return sequence


class History:
    """Submissions in a work queue, workers as coroutines that a tape steps one await at a time."""

    def __init__(self, versions: list[int | None], workers: int) -> None:
        self.log = Unsteady()
        self.door = Door(self.log)
        self.versions = versions
        self.workers = workers
        self.queue: set[int] = set()
        self.submitted = 0
        self.running: list[tuple[int, object]] = []

    def act(self, choice: int) -> None:
        options = []
        if self.submitted < len(self.versions):
            options.append(self._submit)
        if len(self.running) < self.workers:
            options += [lambda n=n: self._deliver(n) for n in sorted(self.queue)]
        options += [lambda w=w: self._step(w) for w in list(self.running)]
        options += [lambda w=w: self._crash(w) for w in list(self.running)]
        options += [self._lose, self.log.end_duplicate_window]
        if self.log.appended:
            options.append(self._repair)
        options[choice % len(options)]()

    def finish(self) -> None:
        self.submitted = len(self.versions)
        self.queue |= {n for n in range(1, self.submitted + 1) if n not in self.done}
        self.log.lose_answer = False
        while self.queue or self.running:
            for worker in list(self.running):
                self._step(worker)
            if len(self.running) < self.workers and self.queue:
                self._deliver(min(self.queue))

    done: set[int]

    def _submit(self) -> None:
        self.submitted += 1
        self.queue.add(self.submitted)

    def _deliver(self, n: int) -> None:
        """Also to a second worker while the first still has it."""
        version = self.versions[n - 1]
        fields = {"text": f"text {n}"} | ({} if version is None else {"source_version": version})
        self.running.append((n, self.door.submit(n, **fields)))

    def _step(self, worker) -> None:
        n, coroutine = worker
        try:
            coroutine.send(None)
        except StopIteration:
            self.queue.discard(n)
            self.done.add(n)
            self.running.remove(worker)
        except BusUnavailable:
            self.running.remove(worker)

    def _crash(self, worker) -> None:
        worker[1].close()
        self.running.remove(worker)

    def _lose(self) -> None:
        self.log.lose_answer = True

    def _repair(self) -> None:
        coroutine = resubmit(self.log, "inbox", KEY, generation="g1")
        try:
            while True:
                coroutine.send(None)
        except (StopIteration, BusUnavailable):
            pass


def _play(versions, workers, tape, wins) -> None:
    history = History(versions, workers)
    history.done = set()
    for choice in tape:
        history.act(choice)
    history.finish()

    last = history.log.appended[-1]
    assert last.content.data in {f"text {n}" for n in wins}


tapes = st.lists(st.integers(0, 40), max_size=80)
EXAMPLES = settings(max_examples=150, deadline=None, database=None)


@EXAMPLES
@given(tape=tapes)
def test_p01_p02_p05_without_versions_the_last_submitted_wins(tape):
    _play([None, None, None], 3, tape, {3})


@EXAMPLES
@given(tape=tapes)
def test_p06_versions_in_order(tape):
    _play([1, 2, 3], 2, tape, {3})


@EXAMPLES
@given(tape=tapes)
def test_p04_p07_versions_out_of_order_the_highest_wins(tape):
    _play([2, 3, 1], 3, tape, {2})


@EXAMPLES
@given(tape=tapes)
def test_p03_p08_a_change_without_a_version_follows_one_with(tape):
    _play([5, None], 2, tape, {2})


@EXAMPLES
@given(tape=tapes)
def test_p09_a_change_with_a_version_follows_one_without(tape):
    _play([None, 1], 2, tape, {2})


@EXAMPLES
@given(tape=tapes)
def test_p10_of_one_version_twice_the_later_wins(tape):
    _play([1, 1], 2, tape, {2})


@given(
    version=st.none() | st.integers(0, 3),
    last_version=st.none() | st.integers(0, 3),
    n=st.integers(1, 5),
    last_n=st.integers(0, 5),
)
def test_a_submission_is_never_stale_after_itself_was_overtaken_and_back(
    version, last_version, n, last_n
):
    last = _change(last_version, last_n)

    if version is not None and last_version is not None and version != last_version:
        assert stale(version, n, last) == (version < last_version)
    else:
        assert stale(version, n, last) == (n <= last_n)


def _change(version, intake):
    from shared.domain.events import Batch, Document, DocumentChanged, Inline

    return DocumentChanged(
        document=Document(source="inbox", path="a.md", doc_key=KEY, changed_at=EPOCH),
        batch=Batch(id="b", count=1, source="inbox", started_at=EPOCH),
        op="upserted",
        content=Inline(data="x"),
        source_version=version,
        intake=intake,
    )


# -- named cases -----------------------------------------------------------------------------------


async def test_a_submission_is_published_and_answered_with_its_revision(door):
    events = await door.submit(7, text="hello", title="T", metadata={"lang": "en"})

    (change,) = door.log.appended
    assert events == []
    assert (change.intake, change.title, change.metadata) == (7, "T", {"lang": "en"})
    assert door.receipt.state == "queued"
    assert door.receipt.receipt == f"{KEY}-1"
    assert door.receipt.document.revision == 1


async def test_a_redelivery_after_the_duplicate_window_publishes_nothing_and_says_queued(door):
    await door.submit(1, text="a")
    door.log.end_duplicate_window()
    await door.submit(1, text="a")

    assert len(door.log.appended) == 1
    assert door.receipt.state == "queued"


async def test_an_older_submission_is_stale_and_told_so(door):
    await door.submit(2, text="new")
    await door.submit(1, text="old")

    assert [c.content.data for c in door.log.appended] == ["new"]
    assert (door.receipt.state, door.receipt.code) == ("stale", "stale_version")


async def test_a_deletion_of_what_is_not_there_outranks_an_older_submission(door):
    await door.submit(2, op="delete")
    await door.submit(1, text="late")

    assert [c.op for c in door.log.appended] == ["deleted"]


async def test_a_change_without_a_version_keeps_the_known_one(door):
    await door.submit(1, text="a", source_version=5)
    await door.submit(2, text="b")
    await door.submit(3, text="c", source_version=4)

    assert [(c.content.data, c.source_version) for c in door.log.appended] == [("a", 5), ("b", 5)]


async def test_a_repair_between_two_submissions_changes_no_order(door):
    await door.submit(1, text="a")
    await resubmit(door.log, "inbox", KEY, generation="g1")
    await door.submit(1, text="a")
    await door.submit(2, text="b")

    assert [(c.content.data, c.repair) for c in door.log.appended] == [
        ("a", None),
        ("a", "g1"),
        ("b", None),
    ]


async def test_a_large_text_goes_to_the_content_store(door):
    text = "x" * 300_000
    await door.submit(1, text=text)

    (change,) = door.log.appended
    assert change.content.kind == "stored"
    assert await door.bodies.get(change.content.hash) == text.encode()


async def test_a_text_that_json_blows_up_goes_to_the_content_store(door):
    await door.submit(1, text="\x01" * 200_000)

    assert door.log.appended[0].content.kind == "stored"
    assert len(door.log.appended[0].model_dump_json()) < 2000


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"text": "x", "metadata": {f"k{n}": 1 for n in range(65)}}, "invalid_request"),
        ({"text": "x", "metadata": {"k": "v" * 9000}}, "invalid_request"),
        ({"text": "x", "title": "t" * 2000}, "invalid_request"),
        ({"text": "x", "metadata": {"k": 1e999}}, "invalid_request"),
        ({"text": "x", "media_type": "m" * 201}, "invalid_request"),
        ({"text": "x", "source_version": 2**63}, "invalid_request"),
        ({"text": "x", "batch": BATCH | {"format": "f" * 201}}, "invalid_request"),
        ({"text": "x", "batch": BATCH | {"id": ""}}, "invalid_request"),
        ({"text": "x" * 51}, "too_large"),
        ({"data_base64": "not base64!"}, "invalid_request"),
        ({"ref": {"url": "file:///etc/passwd"}}, "reference_not_allowed"),
        ({"ref": {"url": "file:///srv/docs-secret/a"}}, "reference_not_allowed"),
        ({"ref": {"url": "file:///srv/docs/../secret/a"}}, "reference_not_allowed"),
        ({"ref": {"url": "file:///srv/docs/%2e%2e/secret/a"}}, "reference_not_allowed"),
        ({"ref": {"url": "http://srv/docs/a"}}, "reference_not_allowed"),
        ({"ref": {"url": "file:///srv/docs/a", "size": 51}}, "too_large"),
    ],
)
async def test_what_a_source_does_not_allow_is_refused_recorded_and_answered(fields, code):
    door = Door(inbox=SourceLimits(50, ("file:///srv/docs/",)))

    (event,) = await door.submit(3, **fields)

    assert door.log.appended == []
    assert (event.code, event.document.doc_key, event.document.revision) == (code, KEY, 0)
    assert event.subject == "documents.refused.g1.inbox"
    assert event.message_id.endswith(":i3")
    assert "intake" not in event.model_dump(mode="json")
    assert (door.receipt.state, door.receipt.code) == ("refused", code)


async def test_an_allowed_reference_is_taken_as_it_is():
    door = Door(inbox=SourceLimits(50, ("file:///srv/docs",)))
    await door.submit(1, ref={"url": "file:///srv/docs/a.md", "etag": "1", "size": 5})

    assert door.log.appended[0].content.ref.url == "file:///srv/docs/a.md"


@pytest.mark.parametrize(
    "data",
    [
        b"not json",
        b'{"path": "a.md"}',
        b'{"path": "../a.md", "text": "x"}',
        b'{"path": "a.md", "text": "x", "metadata": {"k": [1]}}',
        b"[]",
        b"not json" + b"\0" * 9,
        b'{"path": "a.md", "text": "x", "schema": 2}',
        b'{"path": "a.md", "text": "x", "op": "move"}',
        b'{"path": "a.md", "text": "x", "source_version": "new"}',
        b'{"path": "a.md", "text": "\\ud800"}',
        b'{"path": "/a.md", "text": "x"}',
        b'{"path": "a//b.md", "text": "x"}',
        b'{"path": "a\\u0000.md", "text": "x"}',
        b'{"path": "\\ud800.md", "text": "x"}',
        b'{"path": "", "text": "x"}',
        b'{"path": "' + b"a" * 1025 + b'", "text": "x"}',
        b'{"path":' + b"[" * 100_000,
    ],
    ids=range(17),
)
async def test_what_is_no_submission_is_answered_and_dead_lettered_without_its_text(door, data):
    with pytest.raises(MalformedEvent):
        await door.raw(1, data)

    assert door.receipt.state == "refused"
    assert "not json" not in (door.receipt.detail or "")


async def test_a_backslash_and_fields_of_tomorrow_are_no_fault(door):
    await door.raw(1, b'{"path": "..\\\\a.md", "text": "x", "tomorrow": {"a": [1]}}')

    assert door.log.appended[0].document.path == "..\\a.md"


@pytest.mark.parametrize("source", ["In_Box", "", "-a", "a" * 41, "ä"])
async def test_a_source_with_an_odd_name_is_dead_lettered(door, source):
    delivery = Delivery(sequence=1, subject=f"documents.submitted.{source}")
    with pytest.raises(MalformedEvent, match="invalid_source"):
        await door.accept(b'{"path": "a.md", "text": "x"}', delivery)

    assert door.log.appended == []


async def test_cloudevents_are_taken_in_binary_and_in_structured_mode(door):
    event = {"path": "a.md", "text": "x"}
    kind = "instep.document.submitted.v1"
    await door.submit(1, {"ce-specversion": "1.0", "ce-type": kind}, text="binary")
    envelope = {"specversion": "1.0", "type": kind, "id": "1", "source": "/s", "data": event}
    headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
    await door.raw(2, json.dumps(envelope).encode(), headers)

    assert [c.content.data for c in door.log.appended] == ["binary", "x"]


@pytest.mark.parametrize(
    "envelope",
    [
        [],
        NESTED,
        {"specversion": "1.0", "data": {}},
        {"specversion": "1.0", "type": "other", "data": {"path": "a.md", "text": "x"}},
        {"specversion": "1.0", "type": "instep.document.submitted.v1", "data_base64": "%"},
    ],
)
async def test_a_wrong_envelope_is_refused(door, envelope):
    headers = {"Content-Type": "application/cloudevents+json"}
    data = envelope if isinstance(envelope, bytes) else json.dumps(envelope).encode()
    with pytest.raises(MalformedEvent):
        await door.raw(1, data, headers)

    assert door.log.appended == []


@pytest.mark.parametrize(
    "inbox",
    [
        "documents.changed.inbox.x",
        "$KV.instance.live",
        "$JS.API.STREAM.DELETE.DOCS",
        "_INBOX_gateway.x.1",
        "_INBOX_gateway.receipts.x.1",
        "_INBOX_publisher-wiki.x.1",
        "_INBOX_publisher-.x.1",
        "_INBOX_publisher",
    ],
)
async def test_a_receipt_is_never_sent_into_a_stream_to_a_service_or_to_another_publisher(
    door, inbox
):
    await door.submit(1, {"Instep-Reply-To": inbox}, text="a")

    assert door.replies.sent == []


async def test_two_sources_that_publish_under_one_batch_id_have_a_batch_each(door):
    for source, number in (("inbox", 1), ("wiki", 2)):
        batch = {"id": "nightly", "count": 2, "source": "x", "started_at": "2026-01-01T00:00:00Z"}
        data = json.dumps({"path": "a.md", "text": "a", "batch": batch}).encode()
        await door.raw(number, data, to=source)
    found = (await door.batches.open()).values()

    assert {(b.batch.source, *b.members, b.whole) for b in found} == {
        ("inbox", doc_key("inbox", "a.md"), False),
        ("wiki", doc_key("wiki", "a.md"), False),
    }


@pytest.mark.parametrize("inbox", ["_INBOX.x.1", "_INBOX_publisher.x", "_INBOX_publisher-inbox.x"])
async def test_a_receipt_is_sent_to_the_inbox_of_a_publisher_of_this_source(door, inbox):
    await door.submit(1, {"Instep-Reply-To": inbox}, text="a")

    assert [to for to, _ in door.replies.sent] == [inbox]


async def test_members_of_a_publishers_batch_are_noted_with_refused_and_stale_ones(door):
    batch = {"id": "nightly", "count": 3, "source": "inbox", "started_at": "2026-01-01T00:00:00Z"}
    await door.submit(2, text="a", batch=batch)
    await door.submit(1, text="old", batch=batch)
    await door.submit(3, path="b.md", text="b", batch=batch)
    (half,) = (await door.batches.open()).values()
    await door.submit(4, path="c.md", data_base64="!", batch=batch)
    await door.submit(4, path="c.md", data_base64="!", batch=batch)
    (whole,) = (await door.batches.open()).values()

    assert (half.whole, half.members) == (False, {KEY: 1, doc_key("inbox", "b.md"): 2})
    assert whole.whole
    assert len(whole.members) == 3
