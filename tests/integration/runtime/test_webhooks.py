"""Webhooks over a real bus: processes come and go, and receivers fail."""

import asyncio
import json
from collections import Counter

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from memory_results import indexed

from services.gateway.webhooks import runner as module
from services.gateway.webhooks import sender
from services.gateway.webhooks.models import WebhookRequest
from services.gateway.webhooks.runner import EventSelection, Runner
from services.gateway.webhooks.sender import HttpSender
from services.gateway.webhooks.webhooks import Webhooks
from shared.bus.admin.provision import provision
from shared.bus.jetstream.buckets import KvBucket
from shared.bus.jetstream.results import JetResults
from shared.settings import Webhook

pytestmark = pytest.mark.nats

KEY = b"0123456789abcdef"
EVENTS = 40


class Receiver:
    """Answers as told by the sequence of an event; notes those that it has taken."""

    def __init__(self):
        self.taken, self.asked = Counter(), Counter()
        self.status = lambda id, tried: 200
        self.hanging, self.free = set(), asyncio.Event()

    async def answer(self, request):
        id = json.loads(await request.read())["id"]
        self.asked[id] += 1
        if id in self.hanging:
            await self.free.wait()
        status = self.status(id, self.asked[id])
        self.taken[id] += status == 200
        return web.Response(status=status)


@pytest.fixture
async def receiver():
    made, app = Receiver(), web.Application()
    app.router.add_post("/hook", made.answer)
    async with TestServer(app) as running:
        made.url = str(running.make_url("/hook"))
        yield made
        made.free.set()


@pytest.fixture
async def bus(js, monkeypatch):
    monkeypatch.setattr(module, "TAKE_OVER_S", 0.5)
    monkeypatch.setattr(module, "READ_S", 0.1)
    monkeypatch.setattr(sender, "TRY_S", 0.5)
    await provision(js, generation="g")
    return js


def process(js, receiver):
    send = HttpSender(receiver.url, at_once=module.AT_ONCE)
    records = KvBucket(js, "instance")
    runner = Runner("crm", EventSelection("g"), KEY, send, JetResults(js, "*"), records)
    return runner, asyncio.create_task(runner.run())


async def put(js, n):
    event = indexed(n)
    return (await js.publish(event.subject, event.model_dump_json().encode())).seq


def people(js, receiver):
    declared = {"crm": Webhook(url=receiver.url, secret="s" * 20)}
    return Webhooks(declared, KvBucket(js, "instance"))


async def test_every_event_arrives_whatever_receivers_and_processes_do(bus, receiver, eventually):
    asked = people(bus, receiver)
    first, running = process(bus, receiver)
    await eventually(lambda: first._record is not None)
    _, standing_by = process(bus, receiver)
    sent = [await put(bus, n) for n in range(EVENTS)]
    receiver.hanging = {sent[0]}
    receiver.status = lambda id, tried: 500 if id % 7 == 0 and tried < 3 else 200

    await eventually(lambda: len(receiver.taken) >= EVENTS // 2)
    first._record = None  # it ends as a killed one does: its record stays its own
    running.cancel()
    receiver.hanging = set()
    receiver.free.set()

    async def all_delivered():
        view = (await asked.list()).webhooks[0]
        return (view.position, view.waiting, view.failing) == (sent[-1], 0, 0)

    await eventually(all_delivered)
    assert {id for id, count in receiver.taken.items() if count} == set(sent)
    assert (await asked.list()).webhooks[0].dead == 0
    standing_by.cancel()
    await asyncio.gather(running, standing_by, return_exceptions=True)
    third, last = process(bus, receiver)  # the second one has handed over
    await eventually(lambda: third._record is not None)
    more = await put(bus, EVENTS)
    await eventually(lambda: receiver.taken[more])
    last.cancel()
    await asyncio.gather(last, return_exceptions=True)


async def test_given_up_events_are_sent_again_on_demand_by_another_process(
    bus, receiver, eventually, monkeypatch
):
    monkeypatch.setattr("services.gateway.webhooks.record.TRIES", 1)
    asked = people(bus, receiver)
    runner, running = process(bus, receiver)
    await eventually(lambda: runner._record is not None)
    receiver.status = lambda id, tried: 503
    bad = await put(bus, 1)

    async def dead():
        return (await asked.list()).webhooks[0].dead

    await eventually(dead)
    (check,) = await asked.checks()
    assert "last: status 503" in check.text
    receiver.status = lambda id, tried: 200
    assert (await asked.retry(WebhookRequest(name="crm"))).events == 1

    await eventually(lambda: receiver.taken[bad] == 1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    view = (await asked.list()).webhooks[0]
    assert (view.dead, view.delivered, view.failing) == (0, 1, 0)
