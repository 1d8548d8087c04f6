"""Two lanes on a real server: what is small does not wait behind what is much."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from shared.bus.jetstream import change_log
from shared.bus.jetstream.change_log import JetChangeLog
from shared.bus.monitor.flow import flow
from shared.bus.monitor.in_flight import JetRoad
from shared.domain.priority import BULK, BURST_DOCUMENTS, EXPRESS, lane_of_message
from shared.domain.topology import embed_stage, enrich_stage

pytestmark = pytest.mark.nats
BACKLOG = 300
BATCH_OF_MANY = 1000


def pairs(stage, handler):
    return [each for lane in stage.lanes for each in (lane, handler)]


async def test_an_express_part_overtakes_a_backlog_of_bulk_parts(
    provisioned, open_session, part, eventually
):
    stage, seen, device = embed_stage("g1"), [], asyncio.Lock()

    async def one_after_the_other(event, delivery):
        async with device:
            await asyncio.sleep(0.001)
            seen.append(event.document.path)
        return ()

    idle = await open_session()
    for number in range(BACKLOG):
        await idle.publish(part(f"{number}.md").model_copy(update={"lane": BULK}))
    await idle.publish(part("edit.md"))
    async with device:  # until the edit has come, whatever the server sends first
        worker = await open_session(*pairs(stage, one_after_the_other))
        await eventually(lambda: worker.stages[stage.name].pull.held == 1)
    await eventually(lambda: len(seen) == BACKLOG + 1)

    assert seen.index("edit.md") < 40
    assert len(set(seen)) == BACKLOG + 1


async def test_bulk_parts_go_on_while_express_parts_never_end(
    provisioned, open_session, part, eventually
):
    stage, seen, begun = embed_stage("g1"), [], []
    small = replace(stage, concurrency=1, bulk=replace(stage.bulk, concurrency=1))
    both_go = asyncio.Barrier(2)

    async def slow(event, delivery):
        if event.lane not in begun:
            begun.append(event.lane)
            await both_go.wait()
        await asyncio.sleep(0.01)
        seen.append(event.lane)
        return ()

    idle = await open_session()
    for number in range(60):
        await idle.publish(part(f"e{number}.md"))
        await idle.publish(part(f"b{number}.md").model_copy(update={"lane": BULK}))
    await open_session(*pairs(small, slow))
    await eventually(lambda: len(seen) >= 60)

    assert seen[:60].count(BULK) >= 15
    assert seen[:60].count(EXPRESS) >= 15


async def test_each_change_is_handled_by_one_of_the_lanes_that_are_delivered_all(
    provisioned, open_session, changed, eventually
):
    stage, seen = enrich_stage("g1"), []

    def of(lane):
        async def handle(event, delivery):
            seen.append((lane, event.document.path))
            return ()

        return handle

    session = await open_session()
    log = JetChangeLog(session.js)
    for number in range(20):
        change = changed(f"b{number}.md")
        batch = change.batch.model_copy(update={"count": BATCH_OF_MANY})
        await log.append(
            change.model_copy(update={"batch": batch}), expect=0, message_id=f"b{number}"
        )
    await log.append(changed("edit.md"), expect=0, message_id="edit")
    assert stage.bulk is not None
    waiting = []

    async def all_wait():  # the server counts them a moment after it has stored them
        waiting.append((await flow(session.js, [stage]))[0].waiting)
        return waiting[-1] >= 21

    await eventually(all_wait)
    consuming = await open_session()
    consuming.subscribe(stage, of(EXPRESS), lane=EXPRESS)
    consuming.subscribe(stage.bulk, of(BULK), lane=BULK)
    await consuming.start()
    await eventually(lambda: len(seen) >= 21)
    counts = [consumer.counts for consumer in consuming.stages.values()]
    await eventually(lambda: [(c.acked, c.passed) for c in counts] == [(1, 20), (20, 1)])

    assert waiting[-1] == 21  # not twice
    assert sorted(seen) == sorted([(BULK, f"b{n}.md") for n in range(20)] + [(EXPRESS, "edit.md")])


async def test_a_burst_of_changes_without_a_batch_is_bulk_above_the_allowance_of_its_source(
    provisioned, changed, monkeypatch
):
    monkeypatch.setattr(change_log, "time", SimpleNamespace(monotonic=lambda: 0.0))
    log = JetChangeLog(provisioned)
    for number in range(BURST_DOCUMENTS + 2):
        await log.append(changed(f"{number}.md"), expect=0, message_id=f"{number}")
    lanes = [
        lane_of_message((await provisioned.get_last_msg("DOCS", subject)).headers or {})
        for subject in (changed(f"{n}.md").subject for n in range(BURST_DOCUMENTS + 2))
    ]

    assert lanes == [EXPRESS] * BURST_DOCUMENTS + [BULK] * 2


async def test_what_cannot_be_read_is_one_dead_letter_though_both_lanes_are_delivered_it(
    provisioned, open_session, eventually
):
    stage = enrich_stage("g1")

    async def never(event, delivery):
        raise AssertionError("nobody can read it")

    consuming = await open_session()
    consuming.subscribe(stage, never, lane=EXPRESS)
    consuming.subscribe(stage.bulk, never, lane=BULK)
    await consuming.start()
    await provisioned.publish(f"documents.changed.docs.{'a' * 26}", b"garbage")
    counts = [consumer.counts for consumer in consuming.stages.values()]
    await eventually(lambda: [(c.passed, c.buried) for c in counts] == [(0, 1), (1, 0)])

    assert [c.acked for c in counts] == [0, 0]


async def test_a_change_is_taken_when_the_lane_that_it_belongs_to_is_done_with_it(
    provisioned, open_session, changed, eventually
):
    stage, road = enrich_stage("g1"), JetRoad(provisioned, "g1")

    async def done(event, delivery):
        return ()

    session = await open_session(stage, done)  # as if nobody served the bulk
    change = changed("b.md")
    batch = change.batch.model_copy(update={"count": BATCH_OF_MANY})
    change = change.model_copy(update={"batch": batch})
    sequence = await JetChangeLog(session.js).append(change, expect=0, message_id="b")
    await eventually(lambda: session.stages[stage.name].counts.acked == 1)
    before = await road.taken()
    assert stage.bulk is not None
    await open_session(stage.bulk, done)
    while await road.taken() < sequence:  # the server tells nobody
        await asyncio.sleep(0.01)

    assert before < sequence
    assert not await road.waiting()
