"""Servers that are too old, as far as they can be told from what they say of themselves."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from shared.domain.errors import ConfigurationError, StoreUnavailable
from shared.stores.weaviate.store import Address, WeaviateStore


async def open_at(port: int, key: str | None = None) -> None:
    address = Address.of(f"http://127.0.0.1:{port}", f"127.0.0.1:{port + 1}")
    await WeaviateStore.open(address, name="Old", dimensions=4, api_key=key)


@pytest.mark.parametrize("version", ["1.20.0", "1.26.5", "1.31.9"])
async def test_a_server_that_is_too_old_is_refused(version):
    async def meta(request: web.Request) -> web.Response:
        return web.json_response({"version": version, "modules": {}})

    app = web.Application()
    app.router.add_get("/v1/meta", meta)
    async with TestServer(app) as server:
        with pytest.raises(ConfigurationError, match=r"1\.3[28]"):
            await open_at(server.port or 0)


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, ConfigurationError), (403, ConfigurationError), (500, StoreUnavailable)],
)
async def test_a_refusal_at_the_first_question_is_sorted(status, error):
    async def meta(request: web.Request) -> web.Response:
        return web.json_response({"error": [{"message": "no"}]}, status=status)

    app = web.Application()
    app.router.add_get("/v1/meta", meta)
    async with TestServer(app) as server:
        with pytest.raises(error):
            await open_at(server.port or 0, "a key")


async def test_nobody_there_may_pass(unused_tcp_port):
    with pytest.raises(StoreUnavailable):
        await open_at(unused_tcp_port)
