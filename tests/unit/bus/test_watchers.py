"""What a process says of its folders before it has looked at them."""

import time
from dataclasses import replace
from datetime import UTC, datetime

from memory_kv import MemoryShelf

from shared.bus.monitor import watchers
from shared.bus.monitor.watched import Watched
from shared.ports import Hold

HOLD = Hold("docs", datetime(2026, 1, 1, tzinfo=UTC), 25, 30, ("a.md",), kept=False)


async def told(*notes, sources, alone=False):
    """What gateways see once a process begins to watch these sources."""
    shelf = MemoryShelf()
    for note in notes:
        await watchers.tell(shelf, note)
    await watchers.begin(shelf, sources, alone=alone)
    return shelf, await watchers.told(shelf)


async def test_what_the_last_process_listed_is_not_listed_by_the_next():
    last = Watched("docs", time.time() - 5, listed=True, hold=HOLD)
    _, (docs, wiki) = await told(last, sources=["docs", "wiki"])

    assert (docs.listed, docs.hold, docs.at > last.at) == (False, HOLD, True)
    assert (wiki.source, wiki.listed, wiki.hold) == ("wiki", False, None)


async def test_on_a_bus_of_its_own_it_leaves_what_earlier_ones_watched():
    other = Watched("other", time.time() - 5, listed=True)
    shelf, (docs,) = await told(other, sources=["docs"], alone=True)

    assert docs.source == "docs"
    left = {one.source: one for one in await watchers.last_told(shelf)}
    assert left["other"] == replace(other, left=False)  # a folder that somebody may look at again


async def test_on_a_shared_bus_others_go_on():
    other = Watched("other", time.time() - 5, listed=True)
    _, (docs, same) = await told(other, sources=["docs"])

    assert (docs.source, same) == ("docs", other)
