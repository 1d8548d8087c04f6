"""What takes seconds to load: made once, told while it is missing, tried again when it was away."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from services.host.wiring import Wiring
from shared.domain.errors import ModelMismatch, StillLoading, StoreUnavailable
from shared.generation import Generation
from shared.observe.progress import Progress
from shared.settings import Chunking, Settings
from shared.stores.memory import MemoryStore


@pytest.fixture
async def wiring(tmp_path):
    """The adapters of a process that has asked for nothing yet."""
    generation = Generation("m", "f32", "f", 2, Chunking())
    settings = Settings(store={"kind": "memory"})
    made = Wiring(settings, tmp_path, None, generation, Progress(), AsyncExitStack())
    yield made
    for task in made.unfinished():
        task.cancel()


class Loads:
    """In place of what loads: one future for each try."""

    def __init__(self, monkeypatch, method):
        self.tries = []
        monkeypatch.setattr(Wiring, method, self._load)

    async def _load(self, *_):
        self.tries.append(asyncio.get_running_loop().create_future())
        return await self.tries[-1]

    async def begun(self, many=1):
        while len(self.tries) < many:
            await asyncio.sleep(0)
        return self.tries[-1]


async def test_what_is_loading_is_told_until_it_is_there(wiring, monkeypatch):
    opening = Loads(monkeypatch, "_inner_store")
    before = wiring.loading()
    asking = asyncio.create_task(wiring.store())
    future = await opening.begun()

    meanwhile = wiring.loading()
    with pytest.raises(StillLoading, match="the store is loading"):
        await wiring.store_now()
    future.set_result(MemoryStore(2))
    store = await asking

    assert (before, meanwhile) == ({}, {"store": "the store is loading"})
    assert wiring.loading() == {}
    assert store is await wiring.store() is await wiring.store_now()
    assert len(opening.tries) == 1


async def test_a_store_that_was_away_is_opened_by_the_next_that_asks(wiring, monkeypatch):
    opening = Loads(monkeypatch, "_inner_store")
    asking = asyncio.create_task(wiring.store())
    (await opening.begun()).set_exception(StoreUnavailable("it does not answer"))
    with pytest.raises(StoreUnavailable):
        await asking

    away = wiring.loading()
    with pytest.raises(StoreUnavailable, match="it does not answer"):
        await wiring.store_now()
    asking = asyncio.create_task(wiring.store())
    (await opening.begun(2)).set_result(MemoryStore(2))
    await asking

    assert away == {"store": "it does not answer"}
    assert wiring.loading() == {}


async def test_a_model_that_is_wrong_is_not_loaded_again_and_the_reason_stays(wiring, monkeypatch):
    loading = Loads(monkeypatch, "_load_encoder")
    asking = asyncio.create_task(wiring.encoder())
    (await loading.begun()).set_exception(ModelMismatch("other files"))
    for ask in (lambda: asking, wiring.encoder, wiring.encoder_now):
        with pytest.raises(ModelMismatch, match="other files"):
            await ask()

    assert wiring.loading() == {"model": "other files"}
    assert len(loading.tries) == 1


async def test_an_error_of_a_library_is_told_by_its_name_alone(wiring, monkeypatch):
    loading = Loads(monkeypatch, "_load_encoder")
    asking = asyncio.create_task(wiring.encoder())
    (await loading.begun()).set_exception(RuntimeError("/secret/folder"))
    await asyncio.gather(asking, return_exceptions=True)

    assert wiring.loading() == {"model": "RuntimeError"}


async def test_a_store_is_closed_with_the_process(wiring, monkeypatch):
    closed = []

    async def close(store):
        closed.append(store)

    monkeypatch.setattr(MemoryStore, "close", close)
    await wiring.store()
    await wiring.stack.aclose()

    assert len(closed) == 1
