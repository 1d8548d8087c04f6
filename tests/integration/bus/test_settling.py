"""Every message ends: acknowledged, tried again, or in the dead letters. On a real server."""

import asyncio

import pytest
import structlog

from shared.bus.deadletters import letters
from shared.errors import (
    BusUnavailable,
    DocumentRefused,
    NotYetIndexed,
    PermanentError,
    TransientError,
)
from shared.topology import embed_stage, enrich_stage, validate_stage

pytestmark = pytest.mark.nats

STAGE = embed_stage("g1")


@pytest.fixture
def emptied(provisioned, eventually):
    """Acknowledgements are not waited for: the stream is empty a moment later."""

    async def empty():
        return (await provisioned.stream_info("CHUNKS")).state.messages == 0

    return lambda: eventually(empty)


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
    provisioned, open_session, part, eventually, quick, emptied
):
    stage = quick(STAGE, ack_wait_s=1.0)
    calls = []

    async def handle(event, delivery):
        calls.append(event.document.path)
        if event.document.path == "bad.md":
            raise PermanentError("the model refuses the text")
        return ()

    session = await open_session(stage, handle)
    await session.publish(part("bad.md"))
    await eventually(lambda: session.counts[stage.name].buried == 1)
    await asyncio.sleep(1.5)  # past ack_wait: the time in which a lost message would come back
    await emptied()
    [letter] = await letters(provisioned)

    assert calls == ["bad.md"]
    assert (letter.stream, letter.consumer, letter.code) == (
        "CHUNKS",
        stage.name,
        "permanent_error",
    )
    assert letter.document is not None
    assert letter.document.path == "bad.md"
    assert letter.deliveries == 1


async def test_an_event_that_keeps_failing_ends_after_its_attempts(
    provisioned, open_session, part, eventually, quick
):
    stage = quick(STAGE, attempts=3)
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


async def test_a_message_that_kills_its_process_each_time_is_buried_unopened(
    provisioned, open_session, part, eventually, quick
):
    stage = quick(STAGE, attempts=2)
    session = await open_session()
    await session.publish(part("poison.md"))
    for _ in range(2):  # as processes that fetched it and died
        [message] = await (
            await provisioned.pull_subscribe_bind(stage.name, stream="CHUNKS")
        ).fetch(1)
        await message.nak()
    opened = []

    async def handle(event, delivery):
        opened.append(event.document.path)
        return ()

    worker = await open_session(stage, handle)
    await worker.publish(part("good.md"))
    await eventually(lambda: worker.counts[stage.name].buried == 1 and opened)

    assert opened == ["good.md"]
    assert [letter.code for letter in await letters(provisioned)] == ["poison"]


async def test_fifty_polls_are_no_failure_but_age_ends_them(
    provisioned, open_session, part, eventually, quick
):
    stage = quick(STAGE, attempts=None, patience_s=1.0)
    polls = []

    async def handle(event, delivery):
        polls.append(delivery.attempt)
        raise NotYetIndexed("3 of 5 rows", after_s=0.002)

    session = await open_session(stage, handle)
    await session.publish(part())
    await eventually(lambda: len(polls) >= 50)
    dead_early = await letters(provisioned)
    await eventually(lambda: session.counts[stage.name].buried == 1)

    assert dead_early == []
    assert [letter.code for letter in await letters(provisioned)] == ["not_searchable"]


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
    stage = quick(STAGE, ack_wait_s=0.6, concurrency=1)
    seen = []

    async def handle(event, delivery):
        seen.append((event.document.path, delivery.attempt))
        if event.document.path == "slow.md":
            await asyncio.sleep(2)
        return ()

    session = await open_session(stage, handle)
    for path in ("slow.md", "a.md", "b.md"):
        await session.publish(part(path))
    await eventually(lambda: session.counts[stage.name].acked == 3)

    assert seen == [("slow.md", 1), ("a.md", 1), ("b.md", 1)]


async def test_a_stage_with_several_subjects_gets_all_of_them(
    provisioned, open_session, eventually, part
):
    from shared.events import DocumentNotTaken, DocumentRemoved

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
