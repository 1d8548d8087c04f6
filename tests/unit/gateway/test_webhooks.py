"""A webhook gets every outcome, whatever its receiver and the processes that send do."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from memory_results import indexed
from webhook_world import WebhookWorld

from services.gateway.problems import Problem
from services.gateway.webhooks import runner as module
from services.gateway.webhooks import sender
from services.gateway.webhooks.models import WebhookRequest
from services.gateway.webhooks.record import TRIES, WebhookRecord, packed
from services.gateway.webhooks.runner import (
    AT_ONCE,
    FOLDER,
    TAKE_OVER_S,
    EventSelection,
    TryCounts,
)
from services.gateway.webhooks.sender import HttpSender
from services.gateway.webhooks.webhooks import Webhooks
from shared.domain.errors import ConfigurationError
from shared.settings import Webhook

DAY_S = 86_400


@pytest.fixture
def world(monkeypatch):
    for name in ("LOOK_S", "READ_S", "AGAIN_S"):
        monkeypatch.setattr(module, name, 0.0)
    return WebhookWorld()


def people(world, *runners):
    """The state of the webhook, and the command, as the interface has them."""
    one = Webhook(url="https://crm.example/hook?token=t", secret="s" * 20)
    return Webhooks({"crm": one}, world.records, runners, clock=lambda: world.now)


async def begun(world, **more):
    """A process that has the webhook, declared for the first time."""
    process = world.process(**more)
    await world.turns(process, seconds=1)
    return process


async def test_a_new_webhook_gets_what_comes_from_now_on_and_only_what_it_wants(world):
    world.results.put(indexed(1))
    process = await begun(world, choice=EventSelection("g", ("document",), ("docs",)))
    first = world.results.put(indexed(2))
    world.results.put(indexed(3, generation="other"))
    world.results.put(b"garbage")
    second = world.results.put(indexed(4))

    await world.turns(process)

    assert world.receiver.taken == {first: 1, second: 1}
    assert world.stored()["position"] == second
    assert not process.choice.wants(None)


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (EventSelection("g", ("batch",)), 0),
        (EventSelection("g", (), ("other",)), 0),
        (EventSelection("g"), 1),
    ],
)
async def test_types_and_sources_choose(world, choice, sent):
    process = await begun(world, choice=choice)
    world.results.put(indexed(1))

    await world.turns(process)

    assert len(world.receiver.got) == sent


async def test_an_event_that_fails_holds_up_no_other_and_is_sent_again_by_its_name(world):
    process = await begun(world)
    bad, *good = [world.results.put(indexed(n)) for n in range(1, 60)]
    world.receiver.fault = lambda told: "status 500" if told["id"] == bad else ""

    await world.turns(process, seconds=20)
    assert world.receiver.taken == dict.fromkeys(good, 1)
    world.receiver.fault = lambda _: ""
    await world.turns(process, seconds=60)

    assert world.receiver.taken[bad] == 1
    of_bad = [h["webhook-id"] for h in world.receiver.headers if f"-{bad}-" in h["webhook-id"]]
    assert len(of_bad) > 3
    assert len(set(of_bad)) == 1
    assert len({h["webhook-timestamp"] for h in world.receiver.headers}) > 3


async def test_events_that_hang_leave_room_for_new_ones(world):
    process = await begun(world)
    for n in range(AT_ONCE):
        world.results.put(indexed(n + 1))
    world.receiver.fault = lambda _: "status 500"
    await world.turns(process, seconds=2)
    world.receiver.fault = lambda _: ""
    world.receiver.hold = asyncio.Event()
    await world.turns(process, seconds=5)
    assert process._retrying

    new = world.results.put(indexed(20))
    await world.turns(process, seconds=2)

    assert new in process._sending
    world.receiver.hold.set()
    await world.turns(process, seconds=20)
    assert len(world.receiver.taken) == AT_ONCE + 1


async def test_after_the_last_try_an_event_is_kept_listed_and_sent_again_on_demand(world):
    process = await begun(world)
    world.receiver.fault = lambda _: "status 410"
    bad = world.results.put(indexed(1))
    await world.turns(process, seconds=DAY_S / 4, step=300)

    asked = people(world, process)
    view = (await asked.list()).webhooks[0]
    assert (view.dead, view.failing, view.error, view.last_dead[0].id) == (1, 0, "status 410", bad)
    assert view.host == "https://crm.example"
    assert process.counts == TryCounts(retried=TRIES - 1, buried=1)
    assert process.events == {"waiting": 0, "failing": 0, "dead": 1}
    (check,) = await asked.checks()
    assert (check.level, "1 were given up" in check.text) == ("WARN", True)
    world.receiver.fault = lambda _: ""
    retried = await asked.retry(WebhookRequest(name="crm"))
    await world.turns(process)

    assert retried.events == 1
    assert world.receiver.taken == {bad: 1}
    view = (await asked.list()).webhooks[0]
    assert (view.dead, view.failing, view.delivered, await asked.checks()) == (0, 0, 1, [])
    assert process.counts == TryCounts(done=1, retried=TRIES - 1, buried=1)
    assert process.events == {"waiting": 0, "failing": 0, "dead": 0}
    assert world.process().events == {}
    assert (await asked.retry(WebhookRequest(name="crm"))).events == 0


async def test_retry_of_a_webhook_that_is_not_declared_is_refused_with_a_hint(world):
    with pytest.raises(Problem, match="did you mean 'crm'"):
        await people(world).retry(WebhookRequest(name="crn"))
    assert (await Webhooks().list()).webhooks == ()


async def test_a_killed_process_is_replaced_and_nothing_is_missing(world):
    killed = await begun(world)
    sent = [world.results.put(indexed(n)) for n in range(1, 4)]
    world.receiver.fault = lambda told: "status 500" if told["id"] == sent[0] else ""
    await world.turns(killed, seconds=3)
    missed = world.results.put(indexed(9))
    next_one = world.process()

    await world.turns(next_one, seconds=TAKE_OVER_S - 2)
    assert missed not in world.receiver.taken
    world.receiver.fault = lambda _: ""
    await world.turns(next_one, seconds=60)

    assert world.receiver.taken.keys() == {*sent, missed}


@pytest.mark.parametrize("after_s", [0, 1, 2, 5])
async def test_whenever_a_process_is_killed_every_event_arrives(world, after_s):
    """Nothing of its memory is left; what was sent since it wrote last is sent again."""
    killed = await begun(world)
    sent = [world.results.put(indexed(n)) for n in range(1, 30)]
    world.receiver.fault = lambda told: "status 503" if told["id"] % 5 == 0 else ""
    await world.turns(killed, seconds=after_s)
    world.receiver.fault = lambda _: ""

    await world.turns(world.process(), seconds=90)

    assert world.receiver.taken.keys() == set(sent)
    view = (await people(world).list()).webhooks[0]
    assert (view.waiting, view.failing, view.dead, view.lost) == (0, 0, 0, 0)


async def test_a_process_that_stops_hands_over_at_once(world):
    stopped = await begun(world)
    await stopped._end()
    event = world.results.put(indexed(1))

    await world.turns(world.process(), seconds=1)

    assert world.receiver.taken == {event: 1}


async def test_of_two_processes_one_sends_and_an_idle_one_writes_nothing(world):
    one, two = await begun(world), world.process()
    for n in range(20):
        world.results.put(indexed(n + 1))
        await world.turns(one, two, seconds=2)
    world.receiver.hold = asyncio.Event()
    last = world.results.put(indexed(99))
    await world.turns(one, two, seconds=5 * TAKE_OVER_S)  # the receiver hangs

    assert two._record is None
    world.receiver.hold.set()
    await world.turns(one, two, seconds=10)
    assert set(world.receiver.taken.values()) == {1}
    assert last in world.receiver.taken
    written = world.records.written
    await world.turns(one, two, seconds=300)
    assert world.records.written == written


async def test_a_process_that_was_frozen_gives_way(world):
    frozen = await begun(world)
    world.results.put(indexed(1))
    two = world.process()
    await world.turns(two, seconds=2 * TAKE_OVER_S)
    world.results.put(indexed(2))

    await world.turns(frozen, two, seconds=30)

    assert frozen._record is None
    assert two._record is not None
    assert len(world.receiver.taken) == 2


async def test_events_that_the_stream_dropped_are_counted_and_told(world):
    process = await begun(world)
    world.receiver.fault = lambda _: "status 500"
    world.results.put(indexed(1))
    await world.turns(process, seconds=20)
    kept = world.results.put(indexed(2))
    world.results.lose(1)
    world.receiver.fault = lambda _: ""

    await world.turns(process, seconds=60)

    assert world.receiver.taken == {kept: 1}
    assert (await people(world).list()).webhooks[0].lost == 1


async def test_a_bus_that_is_away_costs_nothing(world):
    process = await begun(world)
    world.results.away = world.records.away = True
    await world.turns(process, seconds=20)
    world.results.away = world.records.away = False
    event = world.results.put(indexed(1))

    await world.turns(process)

    assert world.receiver.taken == {event: 1}


async def test_a_record_that_cannot_be_read_begins_at_the_oldest_event(world):
    event = world.results.put(indexed(1))
    await world.records.put(f"{FOLDER}.crm", b"garbage")

    await world.turns(world.process())

    assert world.receiver.taken == {event: 1}


async def test_a_key_that_may_not_write_stops_the_webhook_only_and_is_told(world):
    world.records.refusal = ConfigurationError("the key may not publish to $KV.instance.webhooks")
    process = world.process()

    await asyncio.wait_for(process.run(), 10)

    (check,) = await people(world, process).checks()
    assert "may not publish" in check.text
    assert check.fix.startswith("instep keys bus")


async def test_of_many_dead_events_the_newest_are_listed(world):
    dead = {n: {"at": 1.0, "error": "status 500"} for n in range(1, 100)}
    await world.records.put(f"{FOLDER}.crm", packed(WebhookRecord(position=100, dead=dead)))

    view = (await people(world).list()).webhooks[0]

    assert (view.dead, [one.id for one in view.last_dead][:2], len(view.last_dead)) == (
        99,
        [99, 98],
        20,
    )


class Receiver:
    """A server whose answers a test chooses; it notes what comes."""

    def __init__(self):
        self.got, self.free = [], asyncio.Event()

    async def answer(self, request):
        self.got.append((request.path, await request.read(), dict(request.headers)))
        what = request.path.strip("/")
        if what == "hangs":
            await self.free.wait()
        if what == "redirects":
            raise web.HTTPFound("/200")
        if what == "long":
            return web.Response(body=b"x" * 10_000_000, headers={"Set-Cookie": "a=b"})
        return web.Response(status=int(what) if what.isdecimal() else 200, body=b"thanks")


@pytest.fixture
async def receiver():
    made, app = Receiver(), web.Application()
    app.router.add_post("/{what}", made.answer)
    async with TestServer(app) as running:
        made.url = str(running.make_url("/"))
        yield made
        made.free.set()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("200", ""),
        ("204", ""),
        ("long", ""),
        ("500", "status 500"),
        ("410", "status 410"),
        ("redirects", "status 302"),
        ("hangs", "no answer within 0.2 s"),
    ],
)
async def test_the_status_of_an_answer_decides(receiver, monkeypatch, path, error):
    monkeypatch.setattr(sender, "TRY_S", 0.2 if path == "hangs" else 60.0)
    send = HttpSender(receiver.url + path, at_once=2)

    found = [await send(b"{}", {"webhook-id": "1"}) for _ in range(2)]

    receiver.free.set()
    await send.close()
    assert found == [error, error]
    assert {(path, body) for path, body, _ in receiver.got} == {(f"/{path}", b"{}")}
    assert all("Cookie" not in headers for *_, headers in receiver.got)


@pytest.mark.parametrize("url", ["http://127.0.0.1:PORT/", "https://127.0.0.1:PORT/"])
async def test_a_receiver_that_is_away_is_an_error_without_its_address(url):
    send = HttpSender(url.replace("PORT", str(unused_port())), at_once=2)

    error = await send(b"{}", {})

    await send.close()
    assert error.startswith("Client")
    assert "127" not in error


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"url": "http://crm.example/"}, "https"),
        ({"url": "https://me:pw@crm.example/"}, "no user"),
        ({"url": "ftp://crm.example/"}, "http"),
        ({"url": "https://crm.example/", "secret": None}, "secret"),
        ({"url": "https://crm.example/", "types": ["documents"]}, "document"),
        ({"url": "https://crm.example/", "sources": ["No Source"]}, "pattern"),
    ],
)
def test_a_webhook_of_the_settings_is_signed_and_encrypted(fields, words):
    with pytest.raises(ValueError, match=words):
        Webhook(**{"secret": "s" * 20, **fields})
    assert Webhook(url="http://127.0.0.1:1/", secret="x", types="document,batch").types == (
        "document",
        "batch",
    )


def test_the_token_in_an_address_is_not_shown():
    one = Webhook(url="https://crm.example/hook?token=numbat", secret="s" * 20)

    assert "numbat" not in f"{one!r} {one.model_dump_json()}"
    with pytest.raises(ValueError, match="must") as told:
        Webhook(url="http://crm.example/hook?token=numbat", secret="s" * 20)
    assert "numbat" not in str([error["msg"] for error in told.value.errors()])
