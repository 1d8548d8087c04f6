"""Dead letters can be read, recorded and forgotten. On a real server."""

import contextlib
import json

import pytest
from nats.errors import ConnectionClosedError

from shared.bus.admin.provision import ensure_consumer, provision
from shared.bus.delivery.dead_letters import (
    bury,
    drop,
    exhausted_of,
    letter_of,
    letters,
    mover,
    recorder,
)
from shared.bus.monitor.flow import capacities, unrecorded
from shared.bus.session import BusSession
from shared.domain.errors import PermanentError
from shared.domain.topology import MOVER, RECORDER, embed_stage, enrich_stage
from shared.ports import Delivery

pytestmark = pytest.mark.nats

STAGE = embed_stage("g1")


async def die(event, delivery):
    raise PermanentError("no retry helps")


async def test_letters_name_their_document_and_can_be_dropped(
    provisioned, open_session, part, eventually
):
    session = await open_session(STAGE, die)
    for path in ("a.md", "b.md"):
        await session.publish(part(path))
    await eventually(lambda: session.counts[STAGE.name].buried == 2)
    both = await letters(provisioned)
    dropped = await drop(provisioned, both[0].id)
    again = await drop(provisioned, both[0].id)

    assert sorted(letter.document.path for letter in both) == ["a.md", "b.md"]
    assert (dropped, again) == (True, False)
    assert await letters(provisioned) == [both[1]]
    assert await letters(provisioned, after=both[1].id) == []


async def test_a_letter_without_its_body_still_names_its_document(
    provisioned, open_session, part, eventually
):
    """Headers are enough for a list, and a body may be too large to be kept with them."""
    session = await open_session(STAGE, die)
    await session.publish(part("größe ✓.md", text="x" * (1024 * 1024 - 15_000)))
    await eventually(lambda: session.counts[STAGE.name].buried == 1)
    [letter] = await letters(provisioned)
    stored = await provisioned.get_msg("DLQ", seq=letter.id)

    assert not stored.data
    assert letter.document.path == "größe ✓.md"
    assert letter.batch.id == "b"


async def test_a_list_may_leave_out_letters_however_many_there_are(
    provisioned, open_session, part, eventually
):
    session = await open_session(STAGE, die)
    await session.publish(part("a.md"))
    await eventually(lambda: session.counts[STAGE.name].buried == 1)
    await provisioned.publish("documents.enriched.g1.docs", b"no event", stream="CHUNKS")
    await eventually(lambda: session.counts[STAGE.name].buried == 2)

    found = await letters(provisioned, limit=1, wanted=lambda letter: letter.document is None)

    assert [letter.code for letter in found] == ["malformed_event"]


async def test_streams_that_fill_and_letters_that_wait_are_counted(
    provisioned, open_session, part, eventually
):
    config = (await provisioned.stream_info("CHUNKS")).config
    await provisioned.update_stream(config.evolve(max_bytes=3000))
    session = await open_session(STAGE, die)
    await session.publish(part("a.md"))
    await eventually(lambda: session.counts[STAGE.name].buried == 1)
    seen = {room.name: room for room in await capacities(provisioned)}

    assert await unrecorded(provisioned) >= 1
    assert seen["CHUNKS"].refuses
    assert not seen["RESULTS"].refuses
    assert seen["CHUNKS"].max_bytes == 3000


async def test_the_letter_of_a_change_has_its_revision(
    provisioned, open_session, changed, eventually
):
    stage = enrich_stage("g1")
    session = await open_session(stage, die)
    ack = await provisioned.publish(
        changed().subject, changed().model_dump_json().encode(), stream="DOCS"
    )
    await eventually(lambda: session.counts[stage.name].buried == 1)
    [letter] = await letters(provisioned)

    assert letter.document.revision == letter.sequence == ack.seq
    assert (await provisioned.stream_info("DOCS")).state.messages == 1


async def test_the_same_change_may_die_in_two_generations(
    provisioned, open_session, changed, eventually
):
    session = await open_session(enrich_stage("g1"), die, enrich_stage("g2"), die)
    await provisioned.publish(
        changed().subject, changed().model_dump_json().encode(), stream="DOCS"
    )
    await eventually(lambda: all(counts.buried == 1 for counts in session.counts.values()))

    assert {letter.consumer for letter in await letters(provisioned)} == {
        "enricher_g1",
        "enricher_g2",
    }


async def test_every_letter_is_recorded_even_when_recording_fails_at_first(
    provisioned, nats_url, open_session, part, eventually, monkeypatch
):
    monkeypatch.setattr("shared.bus.delivery.outcome.FIRST_RETRY_S", 0.01)
    calls = []

    async def on_dead(letter):
        calls.append(letter.document.path)
        if len(calls) == 1:
            raise RuntimeError("a bug")
        return ()

    recording = await BusSession.open(nats_url, name="x", drain_s=1, on_fatal=print)
    recording.subscribe_raw(RECORDER, letter_of, recorder(on_dead))
    await recording.start()
    session = await open_session(STAGE, die)
    await session.publish(part())
    await eventually(lambda: len(calls) == 2)
    await recording.close()

    assert calls == ["a.md", "a.md"]
    assert len(await letters(provisioned)) == 1


async def test_what_the_server_gives_up_is_moved_to_the_dead_letters(
    provisioned, nats_url, open_session, part, eventually, quick
):
    """Its own limit is above ours: only a bug or a foreign client ever reaches it."""
    stage = quick(STAGE, name="limited", attempts=None)
    await provisioned.delete_consumer("CHUNKS", STAGE.name)
    await ensure_consumer(provisioned, stage)
    info = await provisioned.consumer_info("CHUNKS", "limited")
    await provisioned.add_consumer("CHUNKS", info.config.evolve(max_deliver=1))
    moving = await BusSession.open(nats_url, name="x", drain_s=1, on_fatal=print)
    moving.subscribe_raw(MOVER, exhausted_of, mover(moving.js))
    await moving.start()
    await moving.publish(part())
    subscription = await provisioned.pull_subscribe_bind("limited", stream="CHUNKS")
    [message] = await subscription.fetch(1, timeout=60)
    await message.nak()

    async def moved():
        with contextlib.suppress(TimeoutError):  # the server notices only when somebody asks
            await subscription.fetch(1, timeout=0.05)
        return len(await letters(provisioned)) == 1

    await eventually(moved)
    await eventually(lambda: moving.counts[MOVER.name].acked == 1)
    await moving.close()
    [letter] = await letters(provisioned)

    assert (letter.code, letter.consumer, letter.document.path) == ("exhausted", "limited", "a.md")
    assert (await provisioned.stream_info("CHUNKS")).state.messages == 0  # deleted, not acked


async def made_anew(js, stream):
    await js.delete_stream(stream)
    await provision(js, generation="g1")


async def test_a_stream_that_was_made_anew_has_letters_of_its_own(
    provisioned, open_session, part, eventually
):
    """Its sequences begin again, and a letter is told from others by its message id."""
    for path in ("a.md", "b.md"):
        session = await open_session(STAGE, die)
        await session.publish(part(path))
        await eventually(lambda counts=session.counts[STAGE.name]: counts.buried == 1)
        await session.close()
        await made_anew(provisioned, "CHUNKS")
    both = await letters(provisioned)

    assert [letter.document.path for letter in both] == ["a.md", "b.md"]
    assert {letter.sequence for letter in both} == {1}


async def held(js, part, stage=STAGE):
    """A part that was pulled, and cannot be ended at first: the connection breaks."""
    await js.publish(part().subject, part().model_dump_json().encode(), stream="CHUNKS")
    subscription = await js.pull_subscribe_bind(stage.name, stream="CHUNKS")
    [message] = await subscription.fetch(1, timeout=60)

    async def broken():
        raise ConnectionClosedError

    message.term = broken
    return subscription, message


async def test_a_burial_that_is_repeated_leaves_one_letter(provisioned, part):
    subscription, message = await held(provisioned, part)
    with pytest.raises(ConnectionClosedError):
        await bury(provisioned, message, code="malformed_event", reason="no event")
    await message.nak()
    [again] = await subscription.fetch(1, timeout=60)
    await bury(provisioned, again, code="malformed_event", reason="no event")

    assert len(await letters(provisioned)) == 1


async def test_what_was_buried_and_then_given_up_by_the_server_leaves_one_letter(provisioned, part):
    _, message = await held(provisioned, part)
    with pytest.raises(ConnectionClosedError):
        await bury(provisioned, message, code="malformed_event", reason="no event")
    stored = (await provisioned.get_msg("CHUNKS", seq=1)).time

    await mover(provisioned)(advisory(at=f"{stored:%Y-%m-%dT%H:%M:%S}.999999999Z"), Delivery(1))

    assert [letter.code for letter in await letters(provisioned)] == ["malformed_event"]


def advisory(*, at):
    """The server's word that it gave up message 1 of CHUNKS."""
    told = {"stream": "CHUNKS", "consumer": STAGE.name, "stream_seq": 1, "deliveries": 20}

    class Message:
        data = json.dumps({**told, "timestamp": at}).encode()

    return exhausted_of(Message)


async def test_what_the_server_gave_up_before_the_stream_was_made_anew_harms_no_later_message(
    provisioned, part
):
    await provisioned.publish(part().subject, part().model_dump_json().encode(), stream="CHUNKS")

    await mover(provisioned)(advisory(at="2026-01-01T00:00:00.5Z"), Delivery(1))

    assert await letters(provisioned) == []
    assert (await provisioned.stream_info("CHUNKS")).state.messages == 1
