"""The renumbering of streams: no sequence comes back, even after a restoration.

Revisions are sequences of DOCS, and they are kept elsewhere: receipts, events, the ledger, rows. A
server that starts from an older copy of its files would count on from there and give the same
numbers to other changes. Sequences begin at the clock in microseconds and rise by one for each
message, so the clock is always ahead of every number that was ever given.

The server can let an empty stream go on at a number. DOCS is not empty: its messages are copied
into a stream beside it and back into one that is made anew. Every step may be the last one of a
process; the next start goes on where it stopped.
"""

import asyncio
import json
import time
from typing import Final

from nats.js import JetStreamContext

from shared.bus.access.connect import Access, connect
from shared.bus.access.permissions import ADMIN
from shared.bus.admin.clock_sequence import above, clock
from shared.bus.admin.configs import Config
from shared.bus.admin.provision import ask
from shared.bus.jetstream.reading import translated
from shared.domain.errors import BusUnavailable

KEPT: Final = "DOCS_KEPT"
DOCS: Final = "DOCS"
INTAKE: Final = "INTAKE"
AFTER: Final = "instep.after"
"""Metadata of the copy: the number above which the new DOCS begins; there once it is whole."""
CONFIG: Final = "instep.docs"
"""Metadata of the copy: how DOCS was configured, as JSON."""

_LOOK_S: Final = 0.02
_PATIENCE_S: Final = 60.0
"""How long a copy may make no progress."""


async def keep_rising(url: str, *, restored: bool) -> int:
    """Renumber at the start, before any other use of the server.

    Args:
        url: of the server.
        restored: its files are a copy, perhaps of an earlier time.

    Returns:
        How many documents have a new number.

    Raises:
        BusUnavailable: the next start goes on where it stopped.
        ConfigurationError: the clock is behind the numbers; nothing was changed.
    """
    with translated("numbering"):
        client = await connect(
            url, Access(ADMIN), allow_reconnect=False, connect_timeout=2, error_cb=_say_nothing
        )
        try:
            js = client.jetstream()
            await raise_intake(js)
            if restored or await ask(js, f"STREAM.INFO.{KEPT}", None):
                return await renumber_docs(js)
            return 0
        finally:
            await client.close()


async def raise_intake(js: JetStreamContext) -> None:
    """Let an empty INTAKE go on at the clock.

    Its number tells a submission from an older one, so numbers that come back would make new
    submissions stale. A power loss can take the count of an empty stream away. Submissions that
    still wait keep their numbers: they may have been accepted already.

    Raises BusUnavailable.
    """
    found = await ask(js, f"STREAM.INFO.{INTAKE}", None)
    if found and not found["state"]["messages"]:
        await ask(js, f"STREAM.PURGE.{INTAKE}", {"seq": clock()})


async def renumber_docs(js: JetStreamContext) -> int:
    """Give every document's newest change a new sequence, above every one ever given.

    Its durable consumers are gone then and have to be provisioned: every document passes through
    the pipeline again, as a revision without changes and encodings.

    Returns:
        How many documents; 0 when there is no such stream.

    Raises:
        BusUnavailable: calling it again goes on where it stopped.
        ConfigurationError: the clock is behind the numbers; nothing was changed.
    """
    docs = await ask(js, f"STREAM.INFO.{DOCS}", None)
    kept = await ask(js, f"STREAM.INFO.{KEPT}", None)
    if docs is None and kept is None:
        return 0
    if kept is None or AFTER not in kept["config"].get("metadata", {}):
        assert docs is not None  # it goes only when the copy is whole
        kept = await _copied_out(js, docs)
    return await _copied_back(js, kept)


async def _copied_out(js: JetStreamContext, docs: Config) -> Config:
    """The copy, whole, and marked so; it remembers how DOCS was configured."""
    after = above(docs["state"]["last_seq"], clock())
    config = {
        "name": KEPT,
        "retention": "limits",
        "storage": "file",
        "compression": "s2",
    }
    if await ask(js, f"STREAM.INFO.{KEPT}", None) is None:
        await ask(js, f"STREAM.CREATE.{KEPT}", {**config, "sources": [{"name": DOCS}]})
    await _until_holds(js, KEPT, docs["state"]["messages"])
    marks = {AFTER: str(after), CONFIG: json.dumps(docs["config"])}
    await ask(js, f"STREAM.UPDATE.{KEPT}", {**config, "metadata": marks})
    return await _found(js, KEPT)


async def _copied_back(js: JetStreamContext, kept: Config) -> int:
    """DOCS made anew from the copy, which is deleted; the number of its messages."""
    marks, count = kept["config"]["metadata"], int(kept["state"]["messages"])
    config, after = json.loads(marks[CONFIG]), int(marks[AFTER])
    docs = await ask(js, f"STREAM.INFO.{DOCS}", None)
    if docs is not None and docs["config"].get("first_seq", 0) <= after:
        await ask(js, f"STREAM.DELETE.{DOCS}", None)
        docs = None
    if docs is None:
        fresh = {**config, "first_seq": max(clock(), after + 1), "sources": [{"name": KEPT}]}
        await ask(js, f"STREAM.CREATE.{DOCS}", fresh)
        docs = await _found(js, DOCS)
    if docs["config"].get("sources"):
        await _until_holds(js, DOCS, count)
        plain = {name: value for name, value in docs["config"].items() if name != "sources"}
        await ask(js, f"STREAM.UPDATE.{DOCS}", plain)
    await ask(js, f"STREAM.DELETE.{KEPT}", None)
    return count


async def _found(js: JetStreamContext, name: str) -> Config:
    found = await ask(js, f"STREAM.INFO.{name}", None)
    if found is None:
        raise BusUnavailable(f"stream {name} has gone")
    return found


async def _until_holds(js: JetStreamContext, name: str, count: int) -> None:
    """Raises BusUnavailable when no more messages come."""
    held, since = -1, time.monotonic()
    while held < count:
        found = await ask(js, f"STREAM.INFO.{name}", None)
        now: int = found["state"]["messages"] if found else 0
        if now > held:
            held, since = now, time.monotonic()
        elif time.monotonic() - since > _PATIENCE_S:
            raise BusUnavailable(f"{name}: {held} of {count} messages copied, and no more come")
        await asyncio.sleep(_LOOK_S)


async def _say_nothing(_: Exception) -> None:
    """Silences the client's log; its calls raise the errors."""
