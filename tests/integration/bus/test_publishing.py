"""What is published is stored, once, or the publisher knows. On a real server."""

from dataclasses import replace

import pytest

from shared.bus.jetstream.change_log import JetChangeLog
from shared.bus.jetstream.publish import JetPublisher, Outgoing, store, wire_bytes
from shared.domain.errors import (
    BusUnavailable,
    ChangeLogConflict,
    ConfigurationError,
    PermanentError,
)
from shared.domain.events import DocumentIndexed
from shared.domain.topology import MAX_MESSAGE_BYTES

pytestmark = pytest.mark.nats


async def stored(js, stream):
    return (await js.stream_info(stream)).state.messages


async def test_a_part_sent_twice_arrives_twice(provisioned, part):
    publish = JetPublisher(provisioned)
    await publish(part())
    await publish(part())

    assert await stored(provisioned, "CHUNKS") == 2


async def test_a_result_sent_twice_is_stored_once_with_its_cloud_headers(provisioned, part):
    base = part()
    event = DocumentIndexed(
        document=base.document,
        batch=base.batch,
        generation="g1",
        indexed_at=base.document.changed_at,
        freshness_s=1,
        vector_count=1,
    )
    publish = JetPublisher(provisioned, instance="laptop")
    await publish(event)
    await publish(event)
    message = await provisioned.get_last_msg("RESULTS", event.subject)

    assert await stored(provisioned, "RESULTS") == 1
    assert message.headers["ce-type"] == "instep.document.indexed.v1"
    assert message.headers["ce-id"] == message.headers["Nats-Msg-Id"] == event.message_id


async def test_a_missing_stream_is_an_error_and_not_silence(js, part, monkeypatch):
    monkeypatch.setattr("shared.bus.jetstream.publish.PAUSES_S", (0.01,))

    with pytest.raises(BusUnavailable):
        await JetPublisher(js)(part())


async def test_a_subject_of_another_stream_is_an_error(provisioned):
    message = Outgoing("VECTORS", "documents.enriched.g1.docs", b"{}", "x")

    with pytest.raises(ConfigurationError):
        await store(provisioned, message)


@pytest.mark.parametrize("size", [1024 * 1024 - 80, 1024 * 1024, 3 * 1024 * 1024])
async def test_what_is_too_large_with_its_headers_is_refused_and_the_connection_lives(
    provisioned, size
):
    message = Outgoing("CHUNKS", "documents.enriched.g1.docs", b"x" * size, "x")

    with pytest.raises(PermanentError, match="at most 1 MB"):
        await store(provisioned, message)

    await provisioned.stream_info("CHUNKS")
    assert await stored(provisioned, "CHUNKS") == 0


async def test_the_largest_message_that_is_accepted_is_stored(provisioned):
    empty = Outgoing("CHUNKS", "documents.enriched.g1.docs", b"", "x")
    room = MAX_MESSAGE_BYTES - wire_bytes(b"", empty.all_headers())
    await store(provisioned, replace(empty, data=b"x" * room))

    with pytest.raises(PermanentError):
        await store(provisioned, replace(empty, data=b"x" * (room + 1)))

    assert await stored(provisioned, "CHUNKS") == 1


async def test_a_full_stream_says_so_at_once(provisioned, part):
    config = (await provisioned.stream_info("CHUNKS")).config
    await provisioned.update_stream(config.evolve(max_bytes=3000))
    publish = JetPublisher(provisioned)
    await publish(part(text="x" * 2000))

    with pytest.raises(BusUnavailable, match="full"):
        await publish(part(text="x" * 2000))


# -- the log of changes ----------------------------------------------------------------------------


async def test_the_revision_of_a_change_is_its_sequence(provisioned, changed):
    log = JetChangeLog(provisioned)
    sequence = await log.append(changed(), expect=0, message_id="i:1")
    newest = await log.newest("docs", changed().document.doc_key)

    assert newest is not None
    assert newest.sequence == newest.change.document.revision == sequence
    assert 1_600_000_000_000_000 < sequence < 2**53
    assert newest.change.content == changed().content


async def test_a_document_that_never_changed_has_no_newest(provisioned, changed):
    assert await JetChangeLog(provisioned).newest("docs", changed().document.doc_key) is None


async def test_a_newer_change_replaces_the_older_one(provisioned, changed):
    log = JetChangeLog(provisioned)
    first = await log.append(changed(text="one"), expect=0, message_id="i:1")
    second = await log.append(changed(text="two"), expect=first, message_id="i:2")
    newest = await log.newest("docs", changed().document.doc_key)

    assert newest is not None
    assert newest.sequence == second > first
    assert newest.change.content.data == "two"
    assert await stored(provisioned, "DOCS") == 1


@pytest.mark.parametrize("expect", [0, 7])
async def test_a_change_that_expected_another_newest_is_refused(provisioned, changed, expect):
    log = JetChangeLog(provisioned)
    await log.append(changed(text="one"), expect=0, message_id="i:1")

    with pytest.raises(ChangeLogConflict):
        await log.append(changed(text="two"), expect=expect, message_id="i:2")


async def test_a_change_sent_again_after_a_lost_acknowledgement_gets_the_same_sequence(
    provisioned, changed
):
    log = JetChangeLog(provisioned)
    first = await log.append(changed(), expect=0, message_id="i:1")
    again = await log.append(changed(), expect=0, message_id="i:1")

    assert again == first


async def test_a_newest_message_that_is_no_change_is_told_with_its_sequence(provisioned, changed):
    sent = await provisioned.publish(changed().subject, b"{}", stream="DOCS")

    newest = await JetChangeLog(provisioned).newest("docs", changed().document.doc_key)

    assert (newest.sequence, newest.readable) == (sent.seq, None)
    assert newest.change.reason.code == "malformed_event"


async def test_a_full_log_keeps_what_it_has_until_there_is_room(provisioned, changed):
    """A change of a known document is refused too: the server compares before it would evict."""
    config = (await provisioned.stream_info("DOCS")).config
    await provisioned.update_stream(config.evolve(max_bytes=3000))
    log = JetChangeLog(provisioned)
    first = await log.append(changed("a.md", "x" * 1500), expect=0, message_id="i:1")

    with pytest.raises(BusUnavailable, match="full"):
        await log.append(changed("b.md", "x" * 1500), expect=0, message_id="i:2")
    with pytest.raises(BusUnavailable, match="full"):
        await log.append(changed("a.md", "y" * 1500), expect=first, message_id="i:3")

    newest = await log.newest("docs", changed("a.md").document.doc_key)
    await provisioned.update_stream(config)
    second = await log.append(changed("a.md", "y" * 1500), expect=first, message_id="i:3")

    assert newest is not None
    assert newest.sequence == first < second
