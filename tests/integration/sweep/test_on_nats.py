"""What the sweep reads of a real server: DOCS without contents, and what is on its way."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

import nats
import pytest

from services.validator.app import all_streams, restore
from shared.bus.access.connect import Access
from shared.bus.admin.provision import provision
from shared.bus.jetstream.change_log import JetChangeLog
from shared.bus.monitor.in_flight import JetRoad
from shared.domain.errors import BusUnavailable, ConfigurationError
from shared.domain.events import (
    Batch,
    Document,
    DocumentChanged,
    DocumentEnriched,
    EmbeddingsReady,
    Inline,
)
from shared.domain.ids import doc_key
from shared.domain.topology import embed_stage, enrich_stage

pytestmark = pytest.mark.nats
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def log(js):
    await provision(js, generation="g1")
    return JetChangeLog(js)


@pytest.fixture
def road(js):
    return JetRoad(js, "g1")


def change(path, source="docs"):
    key = doc_key(source, path)
    return DocumentChanged(
        document=Document(source=source, path=path, doc_key=key, changed_at=NOW),
        batch=Batch(id="b", count=1, source=source, started_at=NOW),
        op="upserted",
        content=Inline(data="x" * 5000),
    )


async def append(log, path, source="docs", *, expect=0):
    return await log.append(
        change(path, source), expect=expect, message_id=f"{source}{path}{expect}"
    )


async def listed(log, source=None):
    return [found async for found in log.sequences(source)]


async def test_sequences_name_the_newest_change_of_every_document(log):
    old = await append(log, "a.md")
    other = await append(log, "a.md", "inbox")
    new = await append(log, "a.md", expect=old)
    docs, inbox = ("docs", doc_key("docs", "a.md")), ("inbox", doc_key("inbox", "a.md"))

    assert await listed(log) == [(*inbox, other), (*docs, new)]
    assert await listed(log, "docs") == [(*docs, new)]
    assert await listed(log, "none") == []


async def test_sequences_of_more_documents_than_a_page_are_complete(log, js):
    keys = {doc_key("docs", f"{n}.md") for n in range(2300)}
    for key in keys:
        await js._nc.publish(f"documents.changed.docs.{key}", b"{}")
    while (await js.stream_info("DOCS")).state.messages < len(keys):
        await asyncio.sleep(0.01)
    found = await listed(log)

    assert {key for _, key, _ in found} == keys
    assert len({seq for _, _, seq in found}) == len(keys)
    assert (await js.stream_info("DOCS")).state.consumer_count == 2  # the enricher's


async def test_docs_that_is_gone_is_not_taken_for_an_empty_one(log, js):
    await js.delete_stream("DOCS")

    with pytest.raises(BusUnavailable):
        await listed(log)


async def test_the_newer_acknowledgement_format_changes_nothing(own_nats_server):
    own_nats_server.stop()
    own_nats_server.extra = "feature_flags { js_ack_fc_v2: true }"
    own_nats_server.start()
    client = await nats.connect(own_nats_server.url)
    js = client.jetstream()
    await provision(js, generation="g1")
    log = JetChangeLog(js)
    seq = await append(log, "a.md")
    found = await listed(log)
    await client.close()

    assert found == [("docs", doc_key("docs", "a.md"), seq)]


async def take(js, stage, *, ack=True):
    """One message of a stage, as a worker takes it."""
    subscription = await js.pull_subscribe_bind(stage.name, stage.stream)
    (message,) = await subscription.fetch(1, timeout=60)
    if ack:
        await message.ack_sync(60)
    return message


async def passed_by(js, many):
    """The lane of the bulk leaves these to the other one."""
    for _ in range(many):
        await take(js, enrich_stage("g1").bulk)


async def test_the_enricher_is_done_with_what_it_has_acknowledged_in_a_row(log, js, road):
    first, second = [await append(log, name) for name in ("a.md", "b.md")]
    before = await road.taken()
    held = await take(js, enrich_stage("g1"), ack=False)
    await take(js, enrich_stage("g1"))
    await passed_by(js, 2)
    between = await road.taken()
    await held.ack_sync(60)

    assert before < first
    assert between < first
    assert await road.taken() == second


async def test_a_change_that_another_has_replaced_does_not_stay_in_the_way(log, js, road):
    first = await append(log, "a.md")
    held = await take(js, enrich_stage("g1"), ack=False)
    second = await append(log, "a.md", expect=first)
    await held.ack_sync(60)
    await take(js, enrich_stage("g1"))
    await passed_by(js, 1)

    assert await road.taken() == second


async def test_an_enricher_that_is_not_there_is_no_enricher_that_has_done_nothing(js, road):
    with pytest.raises(BusUnavailable):
        await road.taken()


async def test_what_waits_between_enricher_and_ledger_has_not_passed(log, js, road):
    quiet = await road.passed(0)
    document = change("a.md").document
    part = DocumentEnriched(document=document, batch=change("a.md").batch, generation="g1", rows=())
    await js.publish(part.subject, part.model_dump_json().encode())
    waiting = await road.passed(0)
    await take(js, embed_stage("g1"))

    assert (quiet, waiting) == (True, False)
    assert await road.passed(60)


def parts(path, revision):
    """A part as it waits for the embedder, and as it waits for the indexer."""
    of = change(path).document.model_copy(update={"revision": revision})
    more = {"document": of, "batch": change(path).batch, "generation": "g1"}
    return DocumentEnriched(**more, rows=()), EmbeddingsReady(**more)


async def test_what_is_carried_between_enricher_and_ledger_is_known_by_name(log, js, road):
    nothing = await road.carried(9)
    for path, revision, place in (("a.md", 7, 0), ("b.md", 8, 1), ("b.md", 8, 1)):
        part = parts(path, revision)[place]
        await js.publish(part.subject, part.model_dump_json().encode())
    await js.publish(parts("a.md", 1)[0].subject, b"not an event")
    other = parts("c.md", 9)[0].model_copy(update={"generation": "g2"})
    await js.publish(other.subject, other.model_dump_json().encode())
    await take(js, embed_stage("g1"), ack=False)
    held, most = await road.carried(9), await road.carried(2)

    assert nothing == frozenset()
    assert held == {(doc_key("docs", "a.md"), 7), (doc_key("docs", "b.md"), 8)}
    assert most is None


async def test_what_waits_is_counted_on_the_whole_road(log, js, road):
    await append(log, "a.md")
    await append(log, "b.md")

    assert await road.waiting() == 2
    assert not await road.consumed()


async def names(js):
    return {info.config.name for info in await js.streams_info()}


async def restored(js, access=None):
    return await restore(SimpleNamespace(js=js, access=access or Access()), "g1")


async def test_every_stream_and_bucket_that_somebody_deletes_is_made_anew(log, js):
    whole = await names(js)
    quiet = await restored(js)
    for name in sorted(whole):
        await js.delete_stream(name)

        assert await restored(js)
        assert await names(js) == whole

    assert not quiet
    assert not await restored(js)
    assert whole == all_streams("g1")


async def test_with_a_key_of_its_own_it_says_what_it_may_not_make(log, js):
    validator = Access("validator", seed="of the validator")
    await js.delete_stream("KV_listings")
    unconcerned = await restored(js, validator)
    await js.delete_stream("KV_ledger_g1")

    with pytest.raises(ConfigurationError, match="provision"):
        await restored(js, validator)

    assert not unconcerned
    assert "KV_ledger_g1" not in await names(js)
