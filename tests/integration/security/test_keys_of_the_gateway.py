"""On a bus with keys the gateway keeps its own in the bucket `instance`, and nobody else may."""

import pytest

from services.gateway.access.keyring import Keyring
from services.gateway.problems import Problem
from shared.bus.jetstream.kv import KvShelf
from shared.domain.errors import ConfigurationError
from shared.domain.topology import INSTANCE


async def test_gateways_share_keys_that_no_other_service_can_make(keyed):
    await keyed.provision()
    async with (
        keyed.session("gateway") as one,
        keyed.session("gateway") as other,
        keyed.session("validator") as stranger,
    ):
        here, there, beside = (KvShelf(s.js, INSTANCE.name) for s in (one, other, stranger))
        for shelf in (here, there, beside):
            await shelf.open()
        text, key = await Keyring(here).create("bot", ("read",), ("docs",), None)

        assert (await Keyring(there).access(text)).sources == {"docs"}
        assert [known.id for known in await Keyring(there).all()] == [key.id]
        with pytest.raises(ConfigurationError, match="instep keys"):
            await Keyring(beside).create("", ("admin",), None, None)
        with pytest.raises(ConfigurationError):
            await here.put("live", b"{}")
        await Keyring(there).revoke(key.id)
        with pytest.raises(Problem):
            await Keyring(here).access(text)
