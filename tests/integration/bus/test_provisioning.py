"""JetStream looks as the topology says, after every start. On a real server."""

import asyncio

import pytest
from nats.js.api import ConsumerConfig, RetentionPolicy, StreamConfig

from shared.bus.admin import provision as provisioning
from shared.bus.admin.provision import provision
from shared.domain.errors import ConfigurationError
from shared.domain.services import consumers
from shared.domain.topology import BUCKETS, STREAMS, embed_stage

pytestmark = pytest.mark.nats


async def run(js, generation="g1"):
    return await provision(js, generation=generation)


async def test_everything_is_created_once(js):
    done = await run(js)
    again = await run(js)

    assert len(done) == len(STREAMS) + len(BUCKETS) + 2 + len(consumers("g1"))
    assert all(line.startswith("created") for line in done)
    assert again == []


async def test_processes_that_start_together_share_the_work(js):
    done = await asyncio.gather(*(run(js) for _ in range(6)))
    again = await run(js)

    created = {line for lines in done for line in lines if line.startswith("created stream")}
    assert len(created) == len(STREAMS) + len(BUCKETS) + 2
    assert again == []


async def test_a_second_generation_lives_beside_the_first(js):
    await run(js)
    done = await run(js, "g2")

    assert done == [
        "created stream KV_ledger_g2",
        "created consumer enricher_g2",
        "created consumer enricher_bulk_g2",
        "created consumer embedder_g2",
        "created consumer embedder_bulk_g2",
        "created consumer indexer_g2",
        "created consumer indexer_bulk_g2",
        "created consumer validator_g2",
    ]


async def test_drift_of_a_stream_is_corrected_and_an_operators_fields_stay(js):
    await run(js)
    config = (await js.stream_info("DOCS")).config
    drifted = config.evolve(max_msgs_per_subject=5, description="kept", metadata={"owner": "us"})
    await js.update_stream(drifted)
    done = await run(js)
    config = (await js.stream_info("DOCS")).config

    assert done == ["changed stream DOCS: max_msgs_per_subject 5 -> 1"]
    assert config.max_msgs_per_subject == 1
    assert config.description == "kept"
    assert config.metadata["owner"] == "us"


async def test_drift_of_a_consumer_is_corrected(js):
    await run(js)
    info = await js.consumer_info("CHUNKS", "embedder_g1")
    await js.add_consumer("CHUNKS", info.config.evolve(ack_wait=1.0, max_ack_pending=1))
    done = await run(js)
    config = (await js.consumer_info("CHUNKS", "embedder_g1")).config

    embedder = embed_stage("g1")
    most = embedder.prefetch * embedder.replicas * 2

    assert len(done) == 1
    assert done[0].startswith("changed consumer embedder_g1: ack_wait")
    assert (config.ack_wait, config.max_ack_pending, config.backoff) == (
        embedder.ack_wait_s,
        most,
        None,
    )


async def test_what_cannot_be_changed_is_refused_with_what_to_do(js):
    await js.add_stream(
        StreamConfig(
            name="CHUNKS", subjects=["documents.enriched.*.*"], retention=RetentionPolicy.LIMITS
        )
    )

    with pytest.raises(ConfigurationError, match=r"CHUNKS.*retention.*move or delete"):
        await run(js)


async def test_a_durable_that_starts_elsewhere_is_refused(js):
    await run(js)
    await js.delete_consumer("DOCS", "enricher_g1")
    await js.add_consumer(
        "DOCS",
        ConsumerConfig(
            durable_name="enricher_g1",
            deliver_policy="new",
            ack_policy="explicit",
            filter_subject="documents.changed.*.*",
        ),
    )

    with pytest.raises(ConfigurationError, match="deliver_policy"):
        await run(js)


async def test_too_little_storage_is_said_in_one_line(own_nats_server, open_session):
    own_nats_server.stop()
    conf = own_nats_server.extra
    own_nats_server.extra = conf + "\njetstream { max_file: 3GB }\n"
    own_nats_server.start()
    session = await open_session(url=own_nats_server.url)

    with pytest.raises(ConfigurationError, match="max_file"):
        await run(session.js)


async def test_a_server_without_jetstream_is_said_in_one_line(own_nats_server, open_session):
    own_nats_server.stop()
    own_nats_server.extra = "\njetstream: disabled\n"
    own_nats_server.start()
    session = await open_session(url=own_nats_server.url)

    with pytest.raises(ConfigurationError, match="JetStream"):
        await run(session.js)


async def test_a_log_made_anew_never_counts_below_the_old_one(js):
    await run(js)
    old = (await js.stream_info("DOCS")).state.last_seq
    await js.delete_stream("DOCS")
    await run(js)

    assert (await js.stream_info("DOCS")).state.last_seq > old > 1_600_000_000_000_000


async def test_a_log_made_anew_begins_above_the_ledger_or_not_at_all(js, monkeypatch):
    await run(js)
    given = (await js.stream_info("KV_ledger_g1")).state.last_seq
    await js.delete_stream("DOCS")
    monkeypatch.setattr(provisioning, "OTHERS_S", 0.01)
    monkeypatch.setattr(provisioning, "clock", lambda: given - 3600 * 10**6)
    with pytest.raises(ConfigurationError, match=r"clock.*behind"):
        await run(js)
    monkeypatch.setattr(provisioning, "clock", lambda: given - 10**6)
    await run(js)

    assert (await js.stream_info("DOCS")).config.first_seq == given + 1


async def test_a_process_whose_clock_is_behind_waits_for_one_that_started_with_it(js, monkeypatch):
    await run(js)
    right = provisioning.clock
    given = (await js.stream_info("KV_ledger_g1")).state.last_seq
    await js.delete_stream("DOCS")
    asked = asyncio.Event()

    def behind_for_one():
        if asyncio.current_task() is not late:
            return right()
        asked.set()
        return given - 3600 * 10**6

    monkeypatch.setattr(provisioning, "OTHERS_TRIES", 120)
    monkeypatch.setattr(provisioning, "clock", behind_for_one)
    late = asyncio.create_task(run(js))
    await asked.wait()
    other = await run(js)
    await late

    assert "created stream DOCS" in other
    assert "created stream DOCS" not in late.result()


async def test_buckets_are_what_nats_clients_expect(js):
    await run(js)
    ledger = await js.key_value("ledger_g1")
    revision = await ledger.create("k", b"one")
    await ledger.update("k", b"two", last=revision)
    cache = await js.key_value("embcache")
    await cache.put("k", b"vector")
    bodies = await js.object_store("bodies")
    await bodies.put("hash", b"body")

    assert revision > 1_600_000_000_000_000
    assert (await ledger.get("k")).value == b"two"
    assert (await cache.get("k")).value == b"vector"
    assert (await bodies.get("hash")).data == b"body"


async def test_cache_and_notes_forget_their_oldest_when_full_and_a_ledger_refuses(js):
    await run(js)
    for bucket in ("KV_embcache", "KV_troubles", "KV_ledger_g1"):
        config = (await js.stream_info(bucket)).config
        await js.update_stream(config.evolve(max_bytes=5000))
    cache, ledger = await js.key_value("embcache"), await js.key_value("ledger_g1")
    for number in range(10):
        await cache.put(f"k{number}", b"x" * 1000)
    await ledger.put("k0", b"x" * 4000)

    with pytest.raises(Exception, match="maximum bytes"):
        await ledger.put("k1", b"x" * 4000)

    notes = await js.key_value("troubles")
    for number in range(10):
        await notes.put(f"k{number}", b"x" * 1000)

    assert (await cache.get("k9")).value == b"x" * 1000
    assert (await notes.get("k9")).value == b"x" * 1000
