"""TLS between the services and the bus, with certificates of an authority of one's own."""

import gc

import pytest
import trustme
from keyed_bus import KeyedServer

from services.host.startup import provisioned
from shared.bus.access.connect import access_of, connect
from shared.domain.errors import ConfigurationError

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""The client leaves a connection that it gave up to the collector of garbage."""


@pytest.fixture(autouse=True)
def collected():
    yield
    gc.collect()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def encrypted(tmp_path, authority):
    """A server whose `nats.conf` has its three lines uncommented."""
    server = KeyedServer(tmp_path / "bus")
    server.make_keys()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(server.keys / "server.key")
    for part in certificate.cert_chain_pems:
        part.write_to_path(server.keys / "server.pem", append=True)
    authority.cert_pem.write_to_path(server.keys / "ca.pem")
    server.start(uncomment_tls=True)
    yield server
    server.stop()


async def test_the_bus_is_provisioned_and_used_over_an_encrypted_connection(encrypted):
    trusting = {"bus": {"tls_ca": encrypted.keys / "ca.pem"}}
    await encrypted.provision(**trusting)
    async with encrypted.session("indexer", **trusting) as session:
        live, _ = await provisioned(session, encrypted.settings("indexer", **trusting))

        assert live.generation.id
        assert session.client._server_info["tls_required"]


async def test_what_the_operator_switched_on_stays_when_keys_are_made_again(encrypted):
    trusting = {"bus": {"tls_ca": encrypted.keys / "ca.pem"}}
    encrypted.sources = ["wiki"]
    made = encrypted.make_keys()["made"]
    again = encrypted.make_keys()["made"]
    encrypted.stop()
    encrypted.start()
    await encrypted.provision(**trusting)
    async with encrypted.session("publisher-wiki", **trusting) as session:
        assert session.client._server_info["tls_required"]

    assert {"publisher-wiki.nk", "auth.conf"} <= set(made)
    assert again == []


async def test_a_certificate_of_another_authority_is_refused(encrypted, tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with pytest.raises(ConfigurationError, match="does not trust"):
        await encrypted.provision(bus={"tls_ca": tmp_path / "other.pem"})


async def test_without_an_authority_the_certificates_of_the_system_count(encrypted):
    with pytest.raises(ConfigurationError, match="does not trust"):
        await encrypted.provision()


async def test_a_server_that_does_not_encrypt_is_refused_when_encryption_is_wanted(
    keyed, tmp_path, authority
):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trusting = {"bus": {"tls_ca": tmp_path / "ca.pem"}}
    with pytest.raises(ConfigurationError, match="does not encrypt"):
        await keyed.provision(**trusting)
    settings = keyed.settings("publisher", **trusting)
    with pytest.raises(ConfigurationError, match="does not encrypt"):
        await connect(keyed.url, access_of(settings.bus, "publisher"))


async def test_a_server_that_asks_for_certificates_gets_ours(tmp_path, authority):
    server = KeyedServer(tmp_path / "bus")
    server.make_keys()
    own = authority.issue_cert("127.0.0.1")
    own.private_key_and_cert_chain_pem.write_to_path(server.keys / "server.pem")
    own.private_key_and_cert_chain_pem.write_to_path(server.keys / "server.key")
    authority.cert_pem.write_to_path(server.keys / "ca.pem")
    client = authority.issue_cert("indexer")
    client.private_key_and_cert_chain_pem.write_to_path(tmp_path / "indexer.pem")
    config = server.keys / "nats.conf"
    asks = f'ca_file: "{server.keys}/ca.pem"\n#      verify: true\n#      timeout'
    config.write_text(config.read_text().replace("timeout", asks))
    server.start(uncomment_tls=True)
    trusting = {"tls_ca": server.keys / "ca.pem"}
    try:
        done = await server.provision(bus={**trusting, "tls_cert": tmp_path / "indexer.pem"})

        assert done
    finally:
        server.stop()
