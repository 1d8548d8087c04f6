"""P6 over random histories: whatever is lost or altered at any moment, two sweeps put it right.

The sweep runs beside the workers: between any two of its looks they take some steps.
"""

import asyncio
import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_world import EPOCH, GENERATION, KEY, SOURCE, Broken, World, _Now, chunk_key

from services.validator.sweep.sweep import Sweep, SweepLimits
from shared.domain.codecs.record_codec import from_bytes
from shared.domain.ids import bucket_of, row_id
from shared.domain.ordering import keep
from shared.ports import Entry, Row
from shared.stores.looks import SweptRow, digested, held

HISTORIES = 400
FAULTS = ("vanish", "appear", "appear late", "alter", "ledger")
QUIET = SweepLimits(second_look_s=0.0, stuck_s=-1.0, passing_s=0.0)
"""Every pending revision is old enough to be suspected."""


class Beside(_Now):
    """The world as the sweep sees it. Before each answer the workers take some steps."""

    def __init__(self, world, steps=(), altered=()):
        super().__init__(world)
        self.steps, self.altered = list(steps), altered

    def _meanwhile(self):
        for _ in range(3):
            if self.steps and (options := self.w.actions([], unfair=False)):
                options[self.steps.pop() % len(options)]()

    def _looks(self):
        self._meanwhile()
        return [
            SweptRow(row.id, row.doc_key, row.source, row.path, row.id not in self.altered)
            for row in self.w.store.values()
        ]

    # Road
    async def taken(self):
        newest = self.w.newest_change.document.revision
        return newest if self.w.newest_acked else newest - 1

    async def passed(self, within_s):
        return not self.w.chunks and not self.w.vectors

    async def carried(self, most):
        parts = [*self.w.chunks.values(), *self.w.vectors.values()]
        return frozenset((part.document.doc_key, part.document.revision) for part in parts)

    # ChangeLog, with `newest` and `append` of the world
    async def sequences(self, source=None):
        self._meanwhile()
        yield SOURCE, KEY, self.w.newest_change.document.revision

    # Ledger
    async def get(self, doc_key):
        self._meanwhile()
        record = self.w.current()
        return record and Entry(record, self.w.ledger_at)

    async def get_many(self, keys):
        entry = await self.get(KEY)
        return {KEY: entry.record} if entry and KEY in keys else {}

    async def entries(self):
        if entry := await self.get(KEY):
            yield KEY, entry.record

    # VectorStore
    async def digests(self):
        return digested((look.id, look.doc_key, look.sound) for look in self._looks())

    async def holdings(self, buckets):
        return held([look for look in self._looks() if bucket_of(look.doc_key) in buckets])

    async def ids(self, documents):
        return {KEY: frozenset(i for i, r in self.w.store.items() if r.born <= documents[KEY])}

    async def delete(self, ids):
        record = self.w.current()
        if record and set(ids) & {row.id(KEY) for row in keep(record)}:
            raise Broken("the sweep deletes a row of the present record")
        for row in ids:
            self.w.store.pop(row, None)


def sweep(runner, world, steps, altered):
    sides = Beside(world, steps, altered)
    return runner.run(
        Sweep(GENERATION, sides, sides, sides, sides, lambda: EPOCH, lambda: [SOURCE], QUIET)(
            batch_size=0
        )
    )


def go_on(world, turns=150):
    """Fairly, until quiet; a revision that carries a lost row is never confirmed."""
    for turn in range(turns):
        if not (options := world.actions([], unfair=False)):
            return
        options[turn % len(options)]()


def strike(world, fault, chance, altered):
    world.damaged = True
    rows = sorted(world.store)
    if fault == "ledger":
        world.lose_ledger()
    elif fault == "vanish" and rows:
        world.store.pop(chance.choice(rows))
    elif fault == "alter" and rows:
        row = world.store[chance.choice(rows)]
        world.store[row.id] = dataclasses.replace(row, text="altered")
        altered.add(row.id)
    elif fault.startswith("appear"):
        born = 2**50 if fault == "appear late" else world.sequence
        key = chunk_key(99)
        row = next(iter(world.store.values()), None)
        vector = row.vector if row else None
        row_of = row_id(KEY, key, born)
        world.store[row_of] = Row(
            row_of, KEY, SOURCE, "a.md", born, key, "", (), "extra", {}, vector
        )


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as runner:
        yield runner


def heal(runner, script, before, after, fault, seed):
    world, chance, altered = World(enrichers=1, indexers=2), random.Random(seed), set()
    left = list(script)
    world.submit(left.pop(0))
    world.wander(left, before)
    strike(world, fault, chance, altered)
    world.wander(left, after)
    while left:
        world.submit(left.pop(0))
    go_on(world, chance.randrange(150))
    for _ in range(2):
        sweep(runner, world, chance.randbytes(60), altered)
        go_on(world)
    third = sweep(runner, world, (), altered)
    world.settle_down()
    return third


@settings(max_examples=HISTORIES, deadline=None, database=None, print_blob=True)
@given(
    script=st.lists(st.sampled_from("ABCDEF"), min_size=1, max_size=4),
    before=st.binary(max_size=80),
    after=st.binary(max_size=80),
    fault=st.sampled_from(FAULTS),
    seed=st.integers(0, 2**32),
)
def test_two_sweeps_heal_whatever_is_lost_at_any_moment(runner, script, before, after, fault, seed):
    third = heal(runner, script, before, after, fault, seed)

    assert third.clean
    assert third.resubmitted == {}


@settings(max_examples=HISTORIES // 4, deadline=None, database=None, print_blob=True)
@given(
    script=st.lists(st.sampled_from("ABCDEFX"), min_size=1, max_size=4),
    tape=st.binary(max_size=120),
    steps=st.binary(max_size=80),
)
def test_a_sweep_beside_healthy_workers_at_any_moment_harms_nothing(runner, script, tape, steps):
    world = World()
    left = list(script)
    world.submit(left.pop(0))
    world.wander(left, tape)

    sweep(runner, world, list(steps), set())

    world.settle_down(left)
    assert world.current() == from_bytes(world.record)


def test_without_the_second_look_healthy_work_is_taken_for_a_fault(runner, monkeypatch):
    """What the second look is for: cleaning, and parts on their way, look wrong for a moment."""
    resubmitted = {False: 0, True: 0}
    for hasty in (False, True):
        if hasty:
            monkeypatch.setattr(
                "services.validator.sweep.sweep.confirm", lambda first, second: first
            )
        for seed in range(150):
            chance = random.Random(seed)
            world, left = World(), list(chance.choices("ABCDEF", k=4))
            world.submit(left.pop(0))
            world.wander(left, chance.randbytes(60))
            swept = sweep(runner, world, chance.randbytes(60), set())
            resubmitted[hasty] += len(swept.resubmitted)
            world.settle_down(left)

    assert resubmitted[True] > resubmitted[False]
