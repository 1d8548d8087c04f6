"""A gateway whose model could not be had for a moment has it later, also when nobody asks."""

import asyncio

from services.gateway import build
from shared.domain.errors import ConfigurationError, EncoderBusy


class Adapters:
    """The model cannot be loaded so often, each time for this reason."""

    def __init__(self, *failures):
        self.failures = list(failures)
        self.loaded = False

    async def encoder(self):
        if self.failures:
            raise self.failures.pop(0)
        self.loaded = True

    async def store(self):
        raise ConfigurationError("the store is another matter")


async def test_a_model_that_could_not_be_had_for_a_moment_is_loaded_again(monkeypatch):
    monkeypatch.setattr(build, "AGAIN_S", 0.0)
    adapters = Adapters(EncoderBusy("it does not start"), EncoderBusy("it does not start"))
    await build.load(adapters)

    assert adapters.loaded


async def test_a_model_that_is_wrong_for_good_is_not_loaded_again():
    adapters = Adapters(ConfigurationError("no such folder"))
    async with asyncio.timeout(5):
        await build.load(adapters)

    assert not adapters.loaded
