"""Which failures to connect a person has to put right."""

import ssl

import pytest
from nats.errors import Error, NoServersError

from shared.bus.access.connect import refusal


@pytest.mark.parametrize(
    "error",
    [Error("nats: 'Authorization Violation'"), ssl.SSLCertVerificationError("self-signed")],
)
def test_trying_again_does_not_help(error):
    assert refusal(error)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        OSError("no such host yet"),
        NoServersError(),
        Error("nats: 'Authorization Timeout'"),
        Error("nats: 'maximum connections exceeded'"),
    ],
)
def test_it_may_pass(error):
    assert not refusal(error)
