"""A process that runs services, on a real server: begun anew, alive, ended in time."""

import asyncio
import logging
import os
import signal
import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import pytest
import structlog

from services.host import run, runtime
from services.host.health.endpoint import health_app
from services.host.health.vitals import Vitals
from services.host.runtime import Connection, Shutdown, serve, wired
from services.host.startup import Stopped, Waits, load_first
from services.host.wiring import OpenGeneration
from shared.domain.errors import BusUnavailable, ConfigurationError, ModelMismatch, StoreUnavailable
from shared.domain.services import EMBEDDER, SERVICES, service_of
from shared.observe.progress import Progress
from shared.settings import Embedding, load

pytestmark = pytest.mark.nats


class Options:
    """What `instep run` hands over, with settings as in a container."""

    def __init__(self, data: Path, url: str) -> None:
        self.data = data
        environ = {
            "INSTEP_BUS__URL": url,
            "INSTEP_EMBEDDING__MODEL": "fake-8",
            "INSTEP_STORE__KIND": "memory",
            "INSTEP_TELEMETRY__LEVEL": "error",
            "INSTEP_GATEWAY__AUTH": "none",
        }
        self._settings = load(config=None, environ=environ).settings

    def settings(self):
        return self._settings


@pytest.fixture
def options(tmp_path, js, nats_url):
    """Settings for the shared server, which `js` empties afterwards."""
    root, config = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield Options(tmp_path / "data", nats_url)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**config)


async def test_a_bus_that_goes_away_while_the_services_start_is_waited_for(
    options, monkeypatch, eventually
):
    tries, begun = [], asyncio.Event()

    build = runtime._build

    async def away_once(service, opened):
        tries.append(opened.host.session)
        if len(tries) == 1:
            raise BusUnavailable("it went away")
        return await build(service, opened)

    monkeypatch.setattr(runtime, "_build", away_once)
    monkeypatch.setattr(Vitals, "begin", begin_and(begun))
    running = asyncio.create_task(run.run(["embedder"], options))
    await eventually(lambda: begun.is_set() or running.done())
    serving = tries[-1].healthy()
    os.kill(os.getpid(), signal.SIGTERM)

    assert await running == 0
    assert serving
    assert len(tries) == 2
    assert tries[0].client.is_closed
    assert not options.data.exists()


def begin_and(begun):
    original = Vitals.begin

    def begin(vitals, opened):
        original(vitals, opened)
        begun.set()

    return begin


async def test_a_bus_that_goes_away_later_ends_the_process(options, monkeypatch):
    async def away_later(names, opened, stop, begun, load):
        begun()
        raise BusUnavailable("closed for good")

    monkeypatch.setattr(run, "serve", away_later)

    with pytest.raises(BusUnavailable, match="for good"):
        await run.run(["embedder"], options)


async def test_a_fetch_loop_that_no_longer_turns_is_told(
    options, aiohttp_client_of, eventually, monkeypatch
):
    stop, settings = Shutdown(), options.settings()
    vitals = Vitals(["embedder"], stop)
    to = Connection(settings.bus.url, "test", waits=vitals.waits)
    async with wired(settings, options.data, to, progress=Progress(), stop=stop) as (opened, _):
        begin = partial(vitals.begin, opened)
        serving = asyncio.create_task(serve([EMBEDDER], opened, stop, begin))
        await eventually(lambda: vitals.serving)
        client = await aiohttp_client_of(health_app(vitals))
        consumer = vitals.consumers()["embedder"]

        beat, stands, go_on = consumer.pull._beat, asyncio.Event(), asyncio.Event()

        async def standing():
            stands.set()
            await go_on.wait()
            await beat()

        monkeypatch.setattr(consumer.pull, "_beat", standing)
        consumer.pull.reconnected()  # gives the loop a reason to turn
        await stands.wait()
        consumer.pull.turned_at -= 60
        stood = await status(client, "/livez")
        go_on.set()

        async def is_alive():
            return await status(client, "/livez") == 200

        await eventually(is_alive)
        for task in consumer._subscriber.tasks:
            task.cancel()
        consumer.pull.turned_at -= 60
        consumer.pull.reconnected()
        await asyncio.sleep(0)
        wedged = [await status(client, address) for address in ("/livez", "/readyz")]
        stop.event.set()
        await serving

    assert stood == 503
    assert wedged == [503, 503]


@pytest.fixture
async def aiohttp_client_of():
    """`await aiohttp_client_of(app)`: a client of an application that listens."""
    from aiohttp.test_utils import TestClient, TestServer

    clients = []

    async def make(app):
        clients.append(TestClient(TestServer(app)))
        await clients[-1].start_server()
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


async def status(client: "aiohttp.ClientSession", address: str) -> int:
    async with client.get(address) as response:
        return response.status


async def test_a_stop_that_takes_too_long_is_ended(options, monkeypatch):
    left = threading.Event()
    monkeypatch.setattr(runtime, "LEAVE_S", -options.settings().bus.drain)
    monkeypatch.setattr(runtime, "_leave", lambda _: left.set())
    stop = Shutdown()
    async with runtime.leaving_in_time(options.settings(), stop):
        early = left.is_set()
        stop.event.set()
        ended = await asyncio.to_thread(left.wait, 60)

    assert not early
    assert ended


@pytest.fixture
async def loading(monkeypatch):
    """The model is loaded, or is not, when this is told so."""
    load, ends = OpenGeneration._load_encoder, asyncio.get_running_loop().create_future()

    async def slowly(opened):
        await asyncio.shield(ends)
        return await load(opened)

    monkeypatch.setattr(OpenGeneration, "_load_encoder", slowly)
    return ends


@dataclass
class Serving:
    """Services that run in this process."""

    opened: OpenGeneration
    stop: Shutdown
    begun: asyncio.Event
    task: "asyncio.Task[None]"

    def takes(self, service):
        return any(name.startswith(service) for name in self.opened.host.session.stages)

    async def ended(self):
        self.stop.event.set()
        await self.task


@pytest.fixture
async def serving(options):
    """`async with serving(NAMES) as …`."""

    @asynccontextmanager
    async def begin(*names, waits=None, load=load_first, bundled=False):
        stop, begun, settings = Shutdown(), asyncio.Event(), options.settings()
        to = Connection(settings.bus.url, "test")
        if bundled:
            bus = settings.bus.model_copy(update={"url": None})
            settings = settings.model_copy(update={"bus": bus})
        async with wired(settings, options.data, to, progress=Progress(), stop=stop) as (opened, _):
            how = [partial(load, opened=opened, waits=waits or Waits())] if load else []
            task = asyncio.create_task(
                serve([service_of(name) for name in names], opened, stop, begun.set, *how)
            )
            yield Serving(opened, stop, begun, task)
            stop.event.set()
            await asyncio.gather(task, return_exceptions=True)

    return begin


async def test_a_service_takes_messages_once_its_model_is_loaded_and_no_other_one_waits_for_it(
    serving, loading, eventually
):
    async with serving("embedder", "enricher", "indexer") as one:
        await eventually(lambda: one.takes("enricher") and one.takes("indexer"))
        takes, begun = one.takes("embedder"), one.begun.is_set()
        loading.set_result(None)
        await eventually(one.begun.is_set)

        assert (takes, begun, one.takes("embedder")) == (False, False, True)
        await one.ended()


async def test_a_model_that_cannot_be_loaded_ends_the_process_before_it_takes_a_message(
    serving, loading, eventually
):
    async with serving("embedder", "enricher") as one:
        await eventually(lambda: one.takes("enricher"))
        loading.set_exception(ConfigurationError("the weights are missing"))

        with pytest.raises(ConfigurationError, match="the weights are missing"):
            await one.task
        assert not one.takes("embedder")


@pytest.mark.parametrize("load", [load_first, None], ids=["run", "up"])
async def test_no_text_is_cut_for_a_model_whose_files_have_changed(
    serving, monkeypatch, eventually, load
):
    monkeypatch.setattr(OpenGeneration, "embedding", property(lambda _: Embedding(model="fake-16")))
    async with serving("enricher", load=load) as one:
        await eventually(lambda: one.task.done() or one.begun.is_set())

        assert not one.takes("enricher")
        with pytest.raises(ModelMismatch, match="not those that the index was built with"):
            one.task.result()


async def test_a_service_that_cannot_begin_keeps_the_others_from_beginning_after_it(
    serving, loading, monkeypatch
):
    build = runtime._build

    async def broken(service, opened):
        if service.name == "indexer":
            raise ConfigurationError("the store is another one")
        return await build(service, opened)

    monkeypatch.setattr(runtime, "_build", broken)
    async with serving("embedder", "indexer") as one:
        with pytest.raises(ConfigurationError, match="the store is another one"):
            await one.task
        alive = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}

        assert not one.takes("embedder")
        assert not [name for name in alive if name.endswith("._begin")]
    loading.cancel()


@pytest.mark.parametrize("name", [service.name for service in SERVICES])
async def test_a_bundled_server_that_dies_while_a_service_begins_is_waited_for(
    serving, monkeypatch, eventually, name
):
    tries, build = [], runtime._build

    async def dies_after_the_first(service, opened):
        part = await build(service, opened)
        tries.append(service.name)
        if len(tries) == 1:
            raise BusUnavailable("the server is starting again")
        return part

    monkeypatch.setattr(runtime, "_build", dies_after_the_first)
    async with serving(name, bundled=True) as one:
        await eventually(lambda: one.begun.is_set() or one.task.done())

        assert one.begun.is_set()
        assert tries == [name, name]


async def test_a_stop_does_not_wait_for_what_is_loading(serving, loading, eventually):
    async with serving("embedder", "enricher") as one:
        await eventually(lambda: one.takes("enricher"))

        with pytest.raises(Stopped):
            await one.ended()
    loading.cancel()


async def test_the_gateway_answers_while_its_model_loads_and_says_what_it_cannot_do(
    serving, loading
):
    async with serving("gateway") as one, aiohttp.ClientSession() as client:
        base = f"{await one.opened.host.gateway_url}/api/v1"

        async def ask(address):
            async with client.get(f"{base}/{address}") as response:
                return response.status, await response.json()

        refused, words = await ask("search?q=x"), await ask("search?q=x&mode=keyword")
        told, ready = await ask("status"), await ask("checks")
        loading.set_result(None)
        await one.opened.encoder()
        answered, after = await ask("search?q=x"), await ask("status")
        await one.ended()

    assert (refused[0], refused[1]["code"]) == (503, "loading")
    assert refused[1]["detail"] == told[1]["loading"]["model"] == "the model is loading"
    assert (words[0], answered[0], after[1]["loading"]) == (200, 200, {})
    assert not ready[1]["ready"]


async def test_the_gateway_answers_while_its_store_is_away_and_serves_once_that_is_back(
    serving, monkeypatch, eventually
):
    back, waits, inner = asyncio.Event(), Waits(), OpenGeneration._open_store

    async def away(opened):
        if not back.is_set():
            raise StoreUnavailable("no Weaviate answers at there:8080")
        return await inner(opened)

    monkeypatch.setattr(OpenGeneration, "_open_store", away)
    async with serving("gateway", waits=waits) as one, aiohttp.ClientSession() as client:
        base = f"{await one.opened.host.gateway_url}/api/v1"

        async def ask(address):
            async with client.get(f"{base}/{address}") as response:
                return response.status, await response.json()

        await eventually(lambda: waits.reasons)
        told, refused, documents = (
            await ask("status"),
            await ask("search?q=x"),
            await ask("documents"),
        )
        begun = one.begun.is_set()
        back.set()
        await eventually(one.begun.is_set)
        answered = await ask("search?q=x&mode=keyword")
        await one.ended()

    why = "no Weaviate answers at there:8080"
    assert told[1]["loading"]["store"] == why
    assert (refused[0], refused[1]["code"]) == (503, "store_unavailable")
    assert (documents[0], begun, answered[0]) == (200, False, 200)
    assert waits.reasons == {}
