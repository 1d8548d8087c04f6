"""Where a gateway may listen: without a key it answers to its own machine only."""

from types import SimpleNamespace

import pytest

from services.gateway.build import build
from shared.domain.errors import ConfigurationError
from shared.settings import Gateway


class _Reached(Exception):
    """The gateway went on to what comes after the refusal."""


class _Opened:
    def __init__(self, **gateway):
        self.host = _Host(**gateway)


class _Host:
    def __init__(self, **gateway):
        self.settings = SimpleNamespace(gateway=Gateway(**gateway))

    @property
    def session(self):
        raise _Reached


BEYOND = (
    "0.0.0.0",
    "::",
    "0",
    "",
    "::ffff:0.0.0.0",
    "192.168.1.20",
    "10.0.0.1",
    "169.254.1.1",
    "fe80::1",
    "2001:db8::1",
    "gateway.example",
    "localhost.example",
    "127.0.0.1.example",
)


@pytest.mark.parametrize("host", BEYOND)
async def test_without_a_key_the_gateway_refuses_to_listen_beyond_loopback(host):
    with pytest.raises(ConfigurationError, match="without a key"):
        await build(_Opened(host=host), None)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost", "LOCALHOST"])
async def test_without_a_key_the_gateway_listens_on_loopback(host):
    with pytest.raises(_Reached):
        await build(_Opened(host=host), None)


@pytest.mark.parametrize("host", BEYOND)
async def test_with_a_key_the_gateway_listens_where_it_is_told(host, tmp_path):
    (tmp_path / "key").write_text("k" * 32)

    with pytest.raises(_Reached):
        await build(_Opened(host=host, key_file=tmp_path / "key"), None)
