"""Whatever stage gives up, its document says failed, the world is told, a retry begins anew."""

from dataclasses import replace

import pytest

from services.validator.failures import Failure, RecordFailure
from shared.bus.delivery.dead_letters import letter_of, letters, recorder
from shared.bus.jetstream.change_log import JetChangeLog
from shared.bus.jetstream.ledger import KvLedger
from shared.bus.session import BusSession
from shared.domain.errors import BusUnavailable, PermanentError
from shared.domain.events import DocumentEnriched, EmbeddingsReady
from shared.domain.ordering import state
from shared.domain.topology import RECORDER, embed_stage, enrich_stage, index_stage
from shared.observe.progress import Progress
from shared.repair import resubmit

pytestmark = pytest.mark.nats

STAGES = {"enrich": enrich_stage("g1"), "embed": embed_stage("g1"), "index": index_stage("g1")}


class Recording:
    """Records dead letters as the validator does, and hands events to stages that fail."""

    def __init__(self, js, ledger, made):
        self.js, self.ledger, self.recorded = js, ledger, 0
        self.errors = []
        """Raised instead of recording, one each."""
        self._record = RecordFailure("g1", ledger, Progress())
        self._open_session, self._changed, self._part = made

    async def on_dead(self, letter):
        if self.errors:
            raise self.errors.pop()
        found = Failure(letter.document, letter.batch, "embed", letter.code, letter.reason)
        events = await self._record(found)
        self.recorded += 1
        return events

    async def die_in(self, name):
        """A change whose event is given up by a stage; its log and its document's revision."""

        async def handle(event, delivery):
            raise PermanentError("no retry helps")

        session = await self._open_session(STAGES[name], handle)
        log, change = JetChangeLog(self.js), self._changed("a.md")
        sequence = await log.append(change, expect=0, message_id="a.md")
        if name != "enrich":
            await session.publish(event_of(name, change, self._part, sequence))
        return log, change.document.model_copy(update={"revision": sequence})


@pytest.fixture
async def recording(provisioned, nats_url, open_session, changed, part):
    ledger = KvLedger(provisioned, "g1")
    await ledger.open()
    made = Recording(provisioned, ledger, (open_session, changed, part))
    own = await BusSession.open(nats_url, name="recorder", drain_s=1, on_fatal=print)
    own.subscribe_raw(RECORDER, letter_of, recorder(made.on_dead))
    await own.start()
    yield made
    await own.close()


def event_of(stage, change, part, sequence):
    document = change.document.model_copy(update={"revision": sequence})
    whole = part(document.path)
    if stage == "embed":
        return DocumentEnriched(
            document=document, batch=change.batch, generation="g1", rows=whole.rows
        )
    return EmbeddingsReady(
        document=document,
        batch=change.batch,
        generation="g1",
        rows=whole.rows,
        fingerprint="f",
        dims=1,
        count=1,
        vectors="AAAAAA==",
        encoded=1,
    )


@pytest.mark.parametrize("name", STAGES)
async def test_a_permanent_error_of_any_stage_is_recorded_announced_and_can_be_retried(
    recording, eventually, name
):
    log, document = await recording.die_in(name)
    await eventually(lambda: recording.recorded == 1)

    async def announced():
        stream = await recording.js.stream_info("RESULTS", subjects_filter="documents.failed.>")
        return stream.state.subjects

    await eventually(announced)
    failed = (await recording.ledger.get(document.doc_key)).record
    again = await resubmit(log, "docs", document.doc_key, generation="g1")

    assert state(failed, document.revision).word == "failed"
    assert failed.failed.reason.code == "permanent_error"
    assert again > document.revision
    assert state(failed, again).word == "queued"


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), BusUnavailable("the ledger is away"), PermanentError("odd")]
)
async def test_a_failure_that_cannot_be_recorded_now_is_recorded_later(
    recording, eventually, error
):
    recording.errors.append(error)
    _, document = await recording.die_in("embed")
    await eventually(lambda: recording.recorded == 1)

    assert (await recording.ledger.get(document.doc_key)).record.failed
    assert len(await letters(recording.js)) == 1


async def test_a_second_dead_part_does_not_undo_a_drop(recording, eventually):
    _, document = await recording.die_in("embed")
    await eventually(lambda: recording.recorded == 1)
    entry = await recording.ledger.get(document.doc_key)
    dropped = replace(entry.record, failed=replace(entry.record.failed, dropped=True))
    await recording.ledger.update(document.doc_key, dropped, expect=entry.at)
    [letter] = await letters(recording.js)
    events = await recording._record(
        Failure(document, letter.batch, "embed", letter.code, letter.reason)
    )
    entry = await recording.ledger.get(document.doc_key)

    assert events == []
    assert state(entry.record).word == "dropped"
