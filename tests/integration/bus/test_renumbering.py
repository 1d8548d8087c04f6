"""Revisions rise above every one that was ever given, whatever happened to the server's files."""

import time

import pytest
from nats.errors import TimeoutError as NatsTimeout

from shared.bus.admin import renumber
from shared.bus.admin.configs import stream_config
from shared.bus.admin.provision import ensure_consumer, ensure_stream
from shared.bus.admin.renumber import DOCS, INTAKE, raise_intake, renumber_docs
from shared.domain.errors import BusUnavailable, ConfigurationError
from shared.domain.topology import ACCEPT, STREAMS

pytestmark = pytest.mark.nats

ROUNDS = 12


def clock():
    return time.time_ns() // 1000


async def make(js, name):
    stream = next(stream for stream in STREAMS if stream.name == name)
    await ensure_stream(js, stream_config(stream))


async def write(js, count, *, text="x"):
    for n in range(count):
        await js.publish(f"documents.changed.docs.k{n}", f"{text}{n}".encode())


async def contents(js):
    """Subject to sequence and content of everything in DOCS."""
    found = {}
    info = await js.stream_info(DOCS, subjects_filter=">")
    for subject in info.state.subjects or {}:
        message = await js.get_last_msg(DOCS, subject)
        found[subject] = message.seq, message.data
    return found


async def names(js):
    return {info.config.name for info in await js.streams_info()}


async def test_every_document_keeps_its_content_and_order_and_has_a_higher_number(js):
    await make(js, DOCS)
    await write(js, ROUNDS)
    await write(js, 3, text="newer")
    before, now = await contents(js), clock()
    count = await renumber_docs(js)
    after = await contents(js)

    assert count == len(before) == ROUNDS
    assert {s: data for s, (_, data) in after.items()} == {s: d for s, (_, d) in before.items()}
    assert min(seq for seq, _ in after.values()) > now
    assert sorted(after, key=lambda s: after[s]) == sorted(before, key=lambda s: before[s])
    assert await names(js) == {DOCS}


async def test_the_stream_is_configured_as_before(js):
    await make(js, DOCS)
    await write(js, 2)
    before = (await js.stream_info(DOCS)).config
    await renumber_docs(js)
    stream = next(stream for stream in STREAMS if stream.name == DOCS)

    assert await ensure_stream(js, stream_config(stream)) == []
    assert (await js.stream_info(DOCS)).config.description == before.description


async def test_a_change_goes_on_above_and_is_compared_with_the_new_number(js):
    await make(js, DOCS)
    await write(js, 3)
    await renumber_docs(js)
    last = await js.get_last_msg(DOCS, "documents.changed.docs.k1")
    sent = await js.publish(
        "documents.changed.docs.k1",
        b"next",
        headers={"Nats-Expected-Last-Subject-Sequence": str(last.seq)},
    )

    assert sent.seq > last.seq


async def test_an_empty_stream_and_none_at_all_are_no_trouble(js):
    nothing = await renumber_docs(js)
    await make(js, DOCS)
    now = clock()
    empty = await renumber_docs(js)
    sent = await js.publish("documents.changed.docs.k", b"x")

    assert (nothing, empty) == (0, 0)
    assert sent.seq > now


@pytest.mark.parametrize("at", range(ROUNDS))
async def test_whoever_dies_at_any_step_is_followed_by_one_who_ends_it(js, monkeypatch, at):
    await make(js, DOCS)
    await write(js, 4)
    before, now = await contents(js), clock()
    asked = 0
    ask = renumber.ask

    class Died(Exception):
        pass

    async def dying(*args):
        nonlocal asked
        asked += 1
        if asked > at:
            raise Died
        return await ask(*args)

    monkeypatch.setattr(renumber, "ask", dying)
    try:
        await renumber_docs(js)
    except Died:
        monkeypatch.setattr(renumber, "ask", ask)
        await renumber_docs(js)
    after = await contents(js)

    assert {s: data for s, (_, data) in after.items()} == {s: d for s, (_, d) in before.items()}
    assert min(seq for seq, _ in after.values()) > now
    assert await names(js) == {DOCS}


async def test_a_clock_behind_the_numbers_is_refused_and_nothing_is_changed(js, monkeypatch):
    await make(js, DOCS)
    await write(js, 2)
    before = await contents(js)
    monkeypatch.setattr(renumber, "clock", lambda: clock() - 3600 * 10**6)
    with pytest.raises(ConfigurationError, match="clock"):
        await renumber_docs(js)

    assert await contents(js) == before
    assert await names(js) == {DOCS}


async def test_a_clock_that_falls_back_between_two_tries_gives_no_number_again(js, monkeypatch):
    await make(js, DOCS)
    await write(js, 2)
    last, ask = (await js.stream_info(DOCS)).state.last_seq, renumber.ask

    async def dying(js, api, request):
        if api == f"STREAM.DELETE.{DOCS}":
            raise BusUnavailable("died")
        return await ask(js, api, request)

    monkeypatch.setattr(renumber, "ask", dying)
    with pytest.raises(BusUnavailable):
        await renumber_docs(js)
    marks = (await js.stream_info(renumber.KEPT)).config.metadata
    monkeypatch.setattr(renumber, "ask", ask)
    monkeypatch.setattr(renumber, "clock", lambda: 10**15)
    count = await renumber_docs(js)

    assert count == 2
    assert min(seq for seq, _ in (await contents(js)).values()) > int(marks[renumber.AFTER]) > last


async def test_an_empty_intake_goes_on_at_the_clock(js):
    await make(js, INTAKE)
    await ensure_consumer(js, ACCEPT)
    now = clock()
    await raise_intake(js)
    sent = await js.publish("documents.submitted.docs", b"x")
    subscription = await js.pull_subscribe_bind(ACCEPT.name, INTAKE)
    (message,) = await subscription.fetch(1, timeout=60)
    await message.ack_sync(60)

    assert now < sent.seq == message.metadata.sequence.stream


async def test_what_waits_in_intake_stays_and_keeps_its_number(js):
    await make(js, INTAKE)
    await ensure_consumer(js, ACCEPT)
    sent = await js.publish("documents.submitted.docs", b"waits")
    await raise_intake(js)
    subscription = await js.pull_subscribe_bind(ACCEPT.name, INTAKE)
    (message,) = await subscription.fetch(1, timeout=60)
    await message.ack_sync(60)

    assert message.metadata.sequence.stream == sent.seq
    with pytest.raises(NatsTimeout):
        await subscription.fetch(1, timeout=0.05)
