"""Every message ends: acknowledged, tried again, or in the dead letters. On a real server."""

import asyncio
import contextlib

import pytest
import structlog

from shared.bus.admin.provision import ensure_consumer, provision
from shared.bus.delivery.dead_letters import letters
from shared.bus.delivery.failure_notes import ACCUSED, LIVES, WORK, Trouble
from shared.bus.delivery.notes_bucket import Troubles
from shared.domain.errors import (
    BusUnavailable,
    DocumentRefused,
    NotYetIndexed,
    PermanentError,
    TransientError,
)
from shared.domain.topology import embed_stage, enrich_stage, validate_stage

pytestmark = pytest.mark.nats

STAGE = embed_stage("g1")


@pytest.fixture
def emptied(provisioned, eventually):
    """Acknowledgements are not waited for: the stream is empty a moment later."""

    return lambda: eventually(lambda: is_empty(provisioned))


async def test_a_malformed_message_among_good_ones_goes_to_the_dead_letters_alone(
    provisioned, open_session, part, eventually, emptied
):
    seen = []

    async def handle(event, delivery):
        seen.append((event.document.path, delivery.attempt))
        return ()

    session = await open_session(STAGE, handle)
    await session.publish(part("a.md"))
    for data in (b'{"schema":1,', b"\xff\xfe", b'{"document": {"path": "secret"}}', b"123"):
        await provisioned.publish("documents.enriched.g1.docs", data, stream="CHUNKS")
    await session.publish(part("b.md"))
    await eventually(lambda: session.counts[STAGE.name].buried == 4 and len(seen) == 2)
    await emptied()
    dead = await letters(provisioned)

    assert sorted(seen) == [("a.md", 1), ("b.md", 1)]
    assert [letter.code for letter in dead] == ["malformed_event"] * 4
    assert not [letter for letter in dead if "secret" in letter.reason]


async def test_a_broken_handler_is_tried_again_after_a_pause(
    provisioned, open_session, part, eventually
):
    attempts = []

    async def handle(event, delivery):
        attempts.append((delivery.attempt, asyncio.get_running_loop().time()))
        if delivery.attempt == 1:
            raise RuntimeError(f"cannot parse {event.rows[0].text}")
        return ()

    with structlog.testing.capture_logs() as logs:
        session = await open_session(STAGE, handle)
        await session.publish(part(text="the secret text"))
        await eventually(lambda: session.counts[STAGE.name].acked == 1)

    assert [attempt for attempt, _ in attempts] == [1, 2]
    assert attempts[1][1] - attempts[0][1] >= 0.5
    assert "RuntimeError in" in str(logs)
    assert "secret" not in str(logs)


async def test_an_event_that_no_retry_helps_is_dead_at_once_and_never_comes_back(
    provisioned, open_session, part, eventually, emptied
):
    calls = []

    async def handle(event, delivery):
        calls.append(event.document.path)
        if event.document.path == "bad.md":
            raise PermanentError("the model refuses the text")
        return ()

    session = await open_session(STAGE, handle)
    await session.publish(part("bad.md"))
    await eventually(lambda: session.counts[STAGE.name].buried == 1)
    await emptied()  # a message that is not in the stream any more is never delivered again
    [letter] = await letters(provisioned)

    assert calls == ["bad.md"]
    assert (letter.stream, letter.consumer, letter.code) == (
        "CHUNKS",
        STAGE.name,
        "permanent_error",
    )
    assert letter.document is not None
    assert letter.document.path == "bad.md"
    assert letter.deliveries == 1


async def test_an_event_that_keeps_failing_ends_after_its_attempts(
    provisioned, open_session, part, eventually, quick
):
    stage = quick(STAGE, attempts=3, patience_s=0.0)
    attempts = []

    async def handle(event, delivery):
        attempts.append(delivery.attempt)
        raise TransientError("the store is busy", after_s=0.01)

    session = await open_session(stage, handle)
    await session.publish(part())
    await eventually(lambda: session.counts[stage.name].buried == 1)
    [letter] = await letters(provisioned)

    assert attempts == [1, 2, 3]
    assert (letter.code, letter.deliveries) == ("exhausted", 3)
    assert "the store is busy" in letter.reason


async def test_a_refusal_that_nobody_recorded_is_not_lost(
    provisioned, open_session, part, eventually
):
    async def handle(event, delivery):
        raise DocumentRefused("empty", "the document has no text")

    session = await open_session(STAGE, handle)
    await session.publish(part())
    await eventually(lambda: session.counts[STAGE.name].buried == 1)

    assert [letter.code for letter in await letters(provisioned)] == ["empty"]


async def is_empty(js):
    return (await js.stream_info("CHUNKS")).state.messages == 0


async def stolen(js, stage, count):
    """The messages, as held by a process that then dies: nobody says how they ended."""
    subscription = await js.pull_subscribe_bind(stage.name, stream=stage.stream)
    got = await subscription.fetch(count, timeout=60)
    assert len(got) == count
    return got


@pytest.mark.parametrize("attempts", [5, None], ids=["a stage that tries", "a stage that polls"])
async def test_the_message_that_kills_is_buried_without_those_that_were_beside_it(
    provisioned, open_session, part, eventually, quick, attempts
):
    """A process dies whenever it opens the killer; eleven others are in its hands each time."""
    stage = quick(STAGE, attempts=attempts, patience_s=60.0, ack_wait_s=0.5)
    session = await open_session()
    await ensure_consumer(provisioned, stage)
    paths = ["killer.md", *(f"n{n}.md" for n in range(11))]
    for path in paths:
        await session.publish(part(path))
    await stolen(provisioned, stage, len(paths))  # the first process
    ended, kills, dying = [], [], asyncio.Event()

    async def handle(event, delivery):
        if event.document.path == "killer.md":
            kills.append(delivery.attempt)
            dying.set()
            await asyncio.Event().wait()
        ended.append(event.document.path)
        return ()

    while len(kills) < 10:
        dying.clear()
        worker = await open_session(stage, handle, drain_s=0.0)
        here = worker.stages[stage.name]
        await eventually(lambda here=here: dying.is_set() or here.counts.buried)
        if here.counts.buried:
            break
        await died(worker)

    async def only_one_is_noted():  # for copies of it that may be on their way
        return len(await notes_of(provisioned)) == 1

    await eventually(only_one_is_noted)
    await eventually(lambda: is_empty(provisioned))
    [letter] = await letters(provisioned)

    assert set(ended) == {*paths} - {"killer.md"}
    assert (letter.code, len(kills)) == ("poison", LIVES)
    assert letter.document.path == "killer.md"


async def test_a_message_that_is_accused_is_opened_with_nothing_beside_it(
    provisioned, open_session, part, changed, eventually, quick
):
    """In the whole process: another stage has messages, too."""
    embed, enrich = quick(STAGE, ack_wait_s=0.5), quick(enrich_stage("g1"), ack_wait_s=0.5)
    session = await open_session()
    for stage in (embed, enrich):
        await ensure_consumer(provisioned, stage)
    accused = part("accused.md")
    await Troubles(provisioned, embed.name).put(accused.work, Trouble(killed=ACCUSED))
    for path in [f"n{n}.md" for n in range(6)]:
        await session.publish(part(path))
        await session.publish(changed(path))
    await session.publish(accused)
    await stolen(provisioned, embed, 7)
    inside, most, ended = set(), {}, []

    async def handle(event, delivery):
        me = (type(event), event.document.path)
        inside.add(me)
        for _ in range(20):
            most[me[1]] = max(most.get(me[1], 0), len(inside))
            await asyncio.sleep(0.01)
        inside.remove(me)
        ended.append(me)
        return ()

    worker = await open_session()
    worker.subscribe(embed, handle)
    worker.subscribe(enrich, handle)
    await worker.start()
    await eventually(lambda: len(ended) >= 13)

    assert most.pop("accused.md") == 1
    assert max(most.values()) > 1
    assert await letters(provisioned) == []


async def test_a_slow_innocent_of_another_stage_is_not_accused(
    provisioned, open_session, part, changed, eventually, quick
):
    """It is open for a moment, and whenever both are open, the killer ends the process."""
    embed, enrich = quick(STAGE, ack_wait_s=0.5), quick(enrich_stage("g1"), ack_wait_s=0.5)
    session = await open_session()
    for stage in (embed, enrich):
        await ensure_consumer(provisioned, stage)
    await session.publish(part("killer.md"))
    await session.publish(changed("slow.pdf"))
    dying, ended = asyncio.Event(), []

    async def slow(event, delivery):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(dying.wait(), 0.5)
            await asyncio.Event().wait()
        ended.append(event.document.path)
        return ()

    async def killer(event, delivery):
        await asyncio.sleep(0.1)
        dying.set()
        await asyncio.Event().wait()

    for _ in range(12):
        dying.clear()
        worker = await open_session(drain_s=0.0)
        worker.subscribe(embed, killer)
        worker.subscribe(enrich, slow)
        await worker.start()
        here = worker.counts[embed.name]
        await eventually(lambda here=here: dying.is_set() or here.buried)
        if here.buried:
            break
        await died(worker)
    other = worker.counts[enrich.name]
    await eventually(lambda: ended or other.buried)

    dead = [(letter.document.path, letter.code) for letter in await letters(provisioned)]
    assert dead == [("killer.md", "poison")]


async def test_a_lost_bucket_of_notes_costs_no_work(
    provisioned, open_session, part, eventually, quick
):
    stage, seen = quick(STAGE, ack_wait_s=0.5), []

    async def handle(event, delivery):
        seen.append(event.document.path)
        return ()

    session = await open_session()
    await ensure_consumer(provisioned, stage)
    await provisioned.delete_stream("KV_troubles")
    for path in ("stolen.md", "other.md"):
        await session.publish(part(path))
    await stolen(provisioned, stage, 2)
    await open_session(stage, handle)
    await eventually(lambda: len(seen) == 2)  # nobody can say what they did: they are opened
    await session.publish(part("new.md"))
    await eventually(lambda: "new.md" in seen)

    assert sorted(seen) == ["new.md", "other.md", "stolen.md"]


@pytest.mark.parametrize("first_to_end", [0, 1])
async def test_a_copy_that_is_open_elsewhere_counts_as_no_death_for_long(provisioned, first_to_end):
    replicas = [Troubles(provisioned, STAGE.name) for _ in range(2)]
    known = []
    for replica in replicas:
        known.append(await replica.get("work") or Trouble())
        await replica.put("work", known[-1].opened())
    for n in (first_to_end, 1 - first_to_end):
        await replicas[n].close("work", known[n].failed(1.0))
    note = await replicas[0].get("work")

    assert note.killed == 0
    assert note.failures == 1


async def test_a_header_of_a_client_makes_no_two_messages_share_a_note(
    provisioned, open_session, changed, eventually
):
    stage = enrich_stage("g1")

    async def handle(event, delivery):
        raise RuntimeError("a fault of ours")

    await open_session(stage, handle)
    sent = set()
    for path in ("a.md", "b.md"):
        change = changed(path)
        ack = await provisioned.publish(
            change.subject, change.model_dump_json().encode(), headers={WORK: "a" * 26}
        )
        sent.add(str(ack.seq))

    async def noted():
        return len(await notes_of(provisioned)) == 2

    await eventually(noted)
    names = await notes_of(provisioned)

    assert {name.rpartition(".")[2].partition("-")[0] for name in names} == sent


async def test_a_stop_while_the_note_is_written_accuses_nobody(
    provisioned, open_session, part, eventually, quick
):
    stage = quick(STAGE, ack_wait_s=0.5)
    session = await open_session()
    await ensure_consumer(provisioned, stage)
    message = part()
    await session.publish(message)
    await stolen(provisioned, stage, 1)
    worker, written = await open_session(drain_s=0.0), asyncio.Event()
    worker.subscribe(stage, None)
    troubles = worker.stages[stage.name]._troubles
    put = troubles.put

    async def put_and_wait(name, trouble):
        stored = await put(name, trouble)
        if not written.is_set():
            written.set()
            await asyncio.Event().wait()
        return stored

    troubles.put = put_and_wait
    await worker.start()
    await eventually(written.is_set)
    await worker.close()
    note = await Troubles(provisioned, stage.name).get(message.work)

    assert note is not None  # it was about to be accused
    assert note.killed == 0


async def died(worker):
    """Cut its connection: nothing it does from now on reaches the bus, as after a kill."""
    await worker.client.close()
    for consumer in worker.stages.values():
        consumer.pull.open = False


async def notes_of(js):
    """What there are notes about."""
    info = await js.stream_info("KV_troubles", subjects_filter="$KV.troubles.>")
    return list(info.state.subjects or ())


@pytest.mark.parametrize("copies", [False, True], ids=["once", "published again at each start"])
async def test_a_killer_is_found_though_the_server_forgot_what_it_had_delivered(
    provisioned, open_session, part, eventually, quick, copies
):
    """A server that dies with its worker counts deliveries from one again.

    And the enricher, whose acknowledgement it may have forgotten as well, publishes the part again.
    """
    stage = quick(STAGE, ack_wait_s=0.5)
    session = await open_session()
    killer = part("killer.md")
    await session.publish(killer)
    kills, ended, dying = [], 0, asyncio.Event()

    async def handle(event, delivery):
        kills.append(delivery.attempt)
        dying.set()
        await asyncio.Event().wait()
        return ()

    for start in range(8):
        await provisioned.delete_consumer("CHUNKS", stage.name)
        dying.clear()
        worker = await open_session(drain_s=0.0)
        await ensure_consumer(provisioned, stage)
        worker.subscribe(stage, handle)
        await worker.start()
        if copies and start:
            await session.publish(killer)
        here = worker.stages[stage.name]
        await eventually(lambda here=here: dying.is_set() or here.counts.buried)
        if here.counts.buried:
            break
        await died(worker)
        ended += 1

    assert ended == LIVES  # each process died of one of its copies
    assert set(kills) == {1}
    assert {letter.code for letter in await letters(provisioned)} == {"poison"}


async def test_deliveries_that_nobody_opened_accuse_nobody(
    provisioned, open_session, part, eventually, quick
):
    """Stops and deaths of processes that only held it: fifteen deliveries, no attempt."""
    stage = quick(STAGE, attempts=2)
    session = await open_session()
    await session.publish(part("held.md"))
    for _ in range(15):
        [message] = await stolen(provisioned, stage, 1)
        await message.nak()
    seen = []

    async def handle(event, delivery):
        seen.append(delivery.attempt)
        if len(seen) == 1:
            raise RuntimeError("a fault of ours")
        return ()

    worker = await open_session(stage, handle)
    await eventually(lambda: worker.counts[stage.name].acked == 1)

    assert seen == [16, 17]
    assert await letters(provisioned) == []


async def test_failures_are_counted_over_all_processes(
    provisioned, open_session, part, eventually, quick
):
    stage = quick(STAGE, attempts=3)
    seen = []

    async def handle(event, delivery):
        seen.append(delivery.attempt)
        raise RuntimeError("a fault of ours")

    session, workers, buried = await open_session(), 0, 0
    await session.publish(part())
    while not buried:
        worker, workers = await open_session(stage, handle), workers + 1
        counts = worker.counts[stage.name]
        await eventually(lambda counts=counts: counts.retried or counts.buried)
        buried = counts.buried
        await worker.close()
    [letter] = await letters(provisioned)

    assert workers > 1
    assert len(seen) == 3
    assert letter.code == "exhausted"
    assert "3 failures" in letter.reason


async def test_a_handler_that_was_stopped_is_not_accused(
    provisioned, open_session, part, eventually, quick
):
    stage = quick(STAGE, attempts=5)
    session = await open_session()
    await session.publish(part())
    started = []

    async def handle(event, delivery):
        started.append(delivery.attempt)
        await asyncio.Event().wait()
        return ()

    for _ in range(6):  # each is asked to stop while it works on it
        before = len(started)
        worker = await open_session(stage, handle, drain_s=0.0)
        await eventually(lambda before=before: len(started) > before)
        await worker.close()

    assert len(started) == 6
    assert await letters(provisioned) == []


async def test_a_full_dead_letter_stream_loses_nothing(
    provisioned, open_session, part, eventually, quick
):
    stage = quick(STAGE, ack_wait_s=0.5)
    config = (await provisioned.stream_info("DLQ")).config
    await provisioned.update_stream(config.evolve(max_bytes=100))
    calls = []

    async def handle(event, delivery):
        calls.append(delivery.attempt)
        raise PermanentError("the model refuses the text")

    session = await open_session(stage, handle)
    await session.publish(part("bad.md"))
    await eventually(lambda: len(calls) >= 3)
    held = (await provisioned.stream_info("CHUNKS")).state.messages
    await provisioned.update_stream(config)
    await eventually(lambda: session.counts[stage.name].buried)
    [letter] = await letters(provisioned)

    assert held == 1
    assert letter.code == "permanent_error"


async def test_fifty_polls_are_no_failure_but_their_time_ends_them(
    provisioned, open_session, part, eventually, quick
):
    stage = quick(STAGE, attempts=None, patience_s=1.0)
    polls = []

    async def handle(event, delivery):
        polls.append(delivery.attempt)
        raise NotYetIndexed("3 of 5 rows", after_s=0.005)

    session = await open_session(stage, handle)
    await session.publish(part())
    await eventually(lambda: len(polls) >= 50)
    dead_early = await letters(provisioned)
    await eventually(lambda: session.counts[stage.name].buried == 1)

    assert dead_early == []
    assert [letter.code for letter in await letters(provisioned)] == ["not_searchable"]


async def test_a_wait_for_the_store_goes_on_in_the_next_process(
    provisioned, open_session, part, eventually, quick
):
    stage = quick(STAGE, attempts=None, patience_s=1.0)
    polls = []

    async def handle(event, delivery):
        polls.append(delivery.attempt)
        raise NotYetIndexed("3 of 5 rows", after_s=0.02)

    worker = await open_session(stage, handle)
    await worker.publish(part())
    await eventually(lambda: len(polls) >= 25)
    await worker.close()
    worker = await open_session(stage, handle)
    await eventually(lambda: worker.counts[stage.name].buried == 1)

    assert 25 <= len(polls) < 60  # 50 pauses make a second


async def test_what_follows_is_stored_before_the_message_is_acknowledged(
    provisioned, open_session, changed, part, eventually
):
    """Publishing fails after the first part: the change comes back and both are sent again."""
    stage = enrich_stage("g1")
    unpublishable = part("b.md", "x" * 1024 * 1024)

    async def handle(event, delivery):
        return [part("a.md"), unpublishable if delivery.attempt == 1 else part("b.md")]

    session = await open_session(stage, handle)
    await provisioned.publish(
        changed().subject, changed().model_dump_json().encode(), stream="DOCS"
    )
    await eventually(lambda: session.counts[stage.name].buried == 1)
    [letter] = await letters(provisioned)

    assert letter.code == "permanent_error"
    assert session.counts[stage.name].acked == 0


async def test_a_full_stream_holds_the_work_back_and_costs_no_attempt(
    provisioned, open_session, changed, part, eventually, quick
):
    config = (await provisioned.stream_info("CHUNKS")).config
    await provisioned.update_stream(config.evolve(max_bytes=3000))
    stage = quick(enrich_stage("g1"), attempts=1)
    handled = []

    async def handle(event, delivery):
        handled.append(delivery.attempt)
        return [part(text="x" * 2000)]

    session = await open_session(stage, handle)
    for path in ("a.md", "b.md"):
        change = changed(path)
        await provisioned.publish(change.subject, change.model_dump_json().encode(), stream="DOCS")
    await eventually(lambda: len(handled) == 2 and session.counts[stage.name].acked == 1)
    await provisioned.purge_stream("CHUNKS")
    await eventually(lambda: session.counts[stage.name].acked == 2)

    assert handled == [1, 1]
    assert await letters(provisioned) == []


async def test_a_handler_that_finds_the_bus_away_is_called_again_and_costs_no_attempt(
    provisioned, open_session, part, eventually, quick
):
    stage = quick(STAGE, attempts=1)
    calls = []

    async def handle(event, delivery):
        calls.append(delivery.attempt)
        if len(calls) == 1:
            raise BusUnavailable("the ledger does not answer")
        return ()

    session = await open_session(stage, handle)
    await session.publish(part())
    await eventually(lambda: session.counts[stage.name].acked == 1)

    assert calls == [1, 1]


async def test_a_handler_slower_than_ack_wait_keeps_its_messages_and_those_behind_it(
    provisioned, open_session, part, eventually, quick
):
    stage = quick(STAGE, ack_wait_s=3.0, concurrency=1)
    seen = []

    async def handle(event, delivery):
        seen.append((event.document.path, delivery.attempt))
        if event.document.path == "slow.md":
            await asyncio.sleep(4.5)
        return ()

    session = await open_session(stage, handle)
    for path in ("slow.md", "a.md", "b.md"):
        await session.publish(part(path))
    await eventually(lambda: session.counts[stage.name].acked == 3)

    assert seen == [("slow.md", 1), ("a.md", 1), ("b.md", 1)]


async def test_a_stage_with_several_subjects_gets_all_of_them(
    provisioned, open_session, eventually, part
):
    from shared.domain.events import DocumentNotTaken, DocumentRemoved

    stage = validate_stage("g1")
    base = part()
    seen = []

    async def handle(event, delivery):
        seen.append(type(event))
        return ()

    session = await open_session(stage, handle)
    about = {"document": base.document, "batch": base.batch, "generation": "g1"}
    await session.publish(DocumentRemoved(**about, removed_at=base.document.changed_at))
    await session.publish(DocumentNotTaken(**about, code="empty", reason="no text"))
    await eventually(lambda: len(seen) == 2)

    assert set(seen) == {DocumentRemoved, DocumentNotTaken}


async def test_a_note_about_a_message_of_a_deleted_stream_accuses_no_later_one(
    provisioned, open_session, part, eventually, quick
):
    """A stream that is made anew gives its sequences again; the note of the first one is left."""
    from shared.domain.events import DocumentNotTaken

    stage, base = quick(validate_stage("g1"), attempts=2), part()
    fact = DocumentNotTaken(
        document=base.document, batch=base.batch, generation="g1", code="empty", reason="no text"
    )

    async def handle(event, delivery):
        raise RuntimeError("a fault of ours")

    first = await open_session(stage, handle)
    await first.publish(fact)
    await eventually(lambda: first.counts[stage.name].retried == 1)
    await first.close()
    await provisioned.delete_stream("RESULTS")
    await provision(provisioned, generation="g1")
    session = await open_session()
    await session.publish(fact)
    [held] = await stolen(provisioned, stage, 1)
    assert held.metadata.sequence.stream == 1
    await held.nak()
    worker = await open_session(stage, handle)
    counts = worker.counts[stage.name]
    await eventually(lambda: counts.retried + counts.buried == 1)

    assert counts.retried == 1
