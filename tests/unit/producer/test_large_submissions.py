"""Documents that are too large for one message come in pieces, over the subject of their source."""

import asyncio
import base64

import pytest
from intake_door import Door

from services.producer.submissions.intake import LARGE_AT_ONCE
from services.producer.submissions.submission import SourceLimits
from shared.domain.errors import BusUnavailable, MalformedEvent, TransientError
from shared.domain.events import Stored
from shared.domain.ids import content_hash, doc_key, piece_of

PARTS = [b"%PDF-1.7 \xff" * 50_000, b"\x00" * 300_000, b"end"]
WHOLE = b"".join(PARTS)


async def send(door, n, data, to="inbox", path="big.pdf"):
    """Send one piece. Returns its name, as the receipt tells it."""
    body = f'{{"op":"piece","path":"{path}","data_base64":"{base64.b64encode(data).decode()}"}}'
    await door.raw(n, body.encode(), to=to)
    assert (door.receipt.state, door.receipt.code) == ("stored", None)
    return door.receipt.piece


async def test_pieces_become_one_document_in_the_order_of_their_names():
    door = Door()
    names = [await send(door, n, part) for n, part in enumerate(PARTS, 1)]

    await door.submit(9, path="big.pdf", pieces=names, title="Big")

    assert door.receipt.state == "queued"
    change = (await door.log.newest("inbox", doc_key("inbox", "big.pdf"))).change
    assert (change.content, change.size) == (Stored(hash=content_hash(WHOLE)), len(WHOLE))
    assert change.content_hash == content_hash(WHOLE)
    assert (change.title, change.intake) == ("Big", 9)
    assert await door.bodies.get(content_hash(WHOLE)) == WHOLE


async def test_the_name_of_a_piece_is_known_before_it_is_sent():
    door = Door()

    assert await send(door, 1, b"x") == content_hash(b"piece\0inbox\0x")
    assert content_hash(piece_of("inbox", b"x")) == content_hash(b"piece\0inbox\0x")


async def test_a_piece_changes_nothing():
    door = Door()

    await send(door, 1, b"x")

    assert await door.log.newest("inbox", doc_key("inbox", "big.pdf")) is None


async def test_a_piece_that_is_still_on_its_way_is_waited_for():
    door = Door()
    first = await send(door, 1, PARTS[0])
    second = content_hash(piece_of("inbox", PARTS[1]))

    with pytest.raises(TransientError, match="pieces: number 2 of 2 has not arrived"):
        await door.submit(3, path="big.pdf", pieces=[first, second])
    await send(door, 2, PARTS[1])
    await door.submit(3, path="big.pdf", pieces=[first, second])

    assert door.receipt.state == "queued"


@pytest.mark.parametrize(
    ("age_s", "attempt", "refused"),
    [(3_000.0, 1, False), (3_000.0, 4, False), (10.0, 50, False), (600.0, 5, True)],
)
async def test_a_piece_that_does_not_come_has_its_document_refused_after_some_tries(
    age_s, attempt, refused
):
    door = Door()
    door.delivery = {"age_s": age_s, "attempt": attempt}

    if not refused:
        with pytest.raises(TransientError):
            await door.submit(1, path="big.pdf", pieces=["0" * 64])
        return
    (outcome,) = await door.submit(1, path="big.pdf", pieces=["0" * 64])

    told = (door.receipt.state, door.receipt.code, door.receipt.detail)
    assert told == ("refused", "invalid_request", "pieces: number 1 of 1 has not arrived")
    assert (outcome.document.path, outcome.code) == ("big.pdf", "invalid_request")


async def test_a_bus_that_fails_is_no_fault_of_the_document_however_late():
    door = Door()
    name = await send(door, 1, b"x")
    door.delivery = {"age_s": 3_000.0, "attempt": 50}

    async def fails(_):
        raise BusUnavailable("reading bodies")

    door.bodies.get = fails
    with pytest.raises(BusUnavailable):
        await door.submit(2, path="big.pdf", pieces=[name])


async def test_no_more_than_two_documents_in_pieces_are_in_memory_and_small_ones_pass_by():
    door, joined, go = Door(), set(), asyncio.Event()
    name = await send(door, 1, b"x")
    get = door.bodies.get

    async def slow(asked):
        joined.add(asyncio.current_task())
        await go.wait()
        return await get(asked)

    door.bodies.get = slow
    async with asyncio.TaskGroup() as tasks:
        large = [
            tasks.create_task(door.submit(n, path=f"{n}.pdf", pieces=[name])) for n in range(2, 9)
        ]
        while len(joined) < LARGE_AT_ONCE:
            await asyncio.sleep(0)
        await door.submit(9, path="small.md", text="small")
        assert door.receipt.document.path == "small.md"
        assert len(joined) == LARGE_AT_ONCE
        go.set()

    assert joined == set(large)


async def test_no_source_gets_content_of_another_one_by_its_name():
    door = Door()
    foreign = await send(door, 1, b"secret", to="other")
    whole = await door.bodies.put(b"secret document")

    for name in (foreign, whole):
        await door.submit(2, path="big.pdf", pieces=[name])
        told = (door.receipt.state, door.receipt.code, door.receipt.detail)
        assert told == ("refused", "invalid_request", "pieces: number 1 is no piece of this source")


async def test_pieces_are_joined_up_to_the_limit_of_their_source_only():
    door = Door(inbox=SourceLimits(max_bytes=10))
    name = await send(door, 1, b"123456")
    read = []
    get = door.bodies.get

    async def counted(name):
        read.append(name)
        return await get(name)

    door.bodies.get = counted
    await door.submit(2, path="big.pdf", pieces=[name] * 10_000)

    assert (door.receipt.code, door.receipt.detail) == (
        "too_large",
        "pieces: 12 bytes; the limit is 10",
    )
    assert len(read) == 2


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"op": "piece", "text": "x"}, "a piece has data_base64 only; this one has text"),
        ({"op": "piece"}, "a piece has data_base64 only; this one has none"),
        ({"pieces": ["x"]}, "pieces.0: must be 64 of 0-9 and a-f, the name of a piece"),
        ({"pieces": "x"}, "pieces: must be a list"),
    ],
)
async def test_what_is_wrong_with_pieces_is_told(fields, said):
    door = Door()

    with pytest.raises(MalformedEvent):
        await door.submit(1, **fields)
    assert said in door.receipt.detail


async def test_a_piece_that_is_no_base64_is_refused():
    door = Door()

    await door.submit(1, op="piece", data_base64="?")

    assert (door.receipt.state, door.receipt.detail) == ("refused", "data_base64: must be base64")
