"""What takes seconds to load: made once, told while it is missing, tried again when it was away."""

import asyncio

import pytest

from services.host.wiring import Host, OpenGeneration
from shared.domain.errors import ModelMismatch, StillLoading, StoreUnavailable
from shared.generation import Generation
from shared.observe.progress import Progress
from shared.settings import Chunking, Settings
from shared.stores.memory import MemoryStore


@pytest.fixture
async def opened(tmp_path):
    """The adapters of a process that has asked for nothing yet."""
    generation = Generation("m", "f32", "f", 2, Chunking())
    settings = Settings(store={"kind": "memory"})
    host = Host(settings, tmp_path, None, Progress())
    yield host.generation(generation)
    await host.close()


class Loads:
    """In place of what loads: one future for each try."""

    def __init__(self, monkeypatch, method):
        self.tries = []
        monkeypatch.setattr(OpenGeneration, method, self._load)

    async def _load(self, *_):
        self.tries.append(asyncio.get_running_loop().create_future())
        return await self.tries[-1]

    async def begun(self, many=1):
        while len(self.tries) < many:
            await asyncio.sleep(0)
        return self.tries[-1]


async def test_what_is_loading_is_told_until_it_is_there(opened, monkeypatch):
    opening = Loads(monkeypatch, "_open_store")
    before = opened.loading()
    asking = asyncio.create_task(opened.store())
    future = await opening.begun()

    meanwhile = opened.loading()
    with pytest.raises(StillLoading, match="the store is loading"):
        await opened.store_now()
    future.set_result(MemoryStore(2))
    store = await asking

    assert (before, meanwhile) == ({}, {"store": "the store is loading"})
    assert opened.loading() == {}
    assert store is await opened.store() is await opened.store_now()
    assert len(opening.tries) == 1


async def test_a_store_that_was_away_is_opened_by_the_next_that_asks(opened, monkeypatch):
    opening = Loads(monkeypatch, "_open_store")
    asking = asyncio.create_task(opened.store())
    (await opening.begun()).set_exception(StoreUnavailable("it does not answer"))
    with pytest.raises(StoreUnavailable):
        await asking

    away = opened.loading()
    with pytest.raises(StoreUnavailable, match="it does not answer"):
        await opened.store_now()
    asking = asyncio.create_task(opened.store())
    (await opening.begun(2)).set_result(MemoryStore(2))
    await asking

    assert away == {"store": "it does not answer"}
    assert opened.loading() == {}


async def test_a_model_that_is_wrong_is_not_loaded_again_and_the_reason_stays(opened, monkeypatch):
    loading = Loads(monkeypatch, "_load_encoder")
    asking = asyncio.create_task(opened.encoder())
    (await loading.begun()).set_exception(ModelMismatch("other files"))
    for ask in (lambda: asking, opened.encoder, opened.encoder_now):
        with pytest.raises(ModelMismatch, match="other files"):
            await ask()

    assert opened.loading() == {"model": "other files"}
    assert len(loading.tries) == 1


async def test_an_error_of_a_library_is_told_by_its_name_alone(opened, monkeypatch):
    loading = Loads(monkeypatch, "_load_encoder")
    asking = asyncio.create_task(opened.encoder())
    (await loading.begun()).set_exception(RuntimeError("/secret/folder"))
    await asyncio.gather(asking, return_exceptions=True)

    assert opened.loading() == {"model": "RuntimeError"}


async def test_a_store_is_closed_with_the_process(opened, monkeypatch):
    closed = []

    async def close(store):
        closed.append(store)

    monkeypatch.setattr(MemoryStore, "close", close)
    await opened.store()
    await opened.host.close()

    assert len(closed) == 1
