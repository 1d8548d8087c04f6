"""TLS between instep and a real Weaviate server, which encrypts both of its ports by itself."""

import asyncio
import contextlib
import ssl
import uuid

import numpy as np
import pytest
import trustme
import weaviate_server
from ports import free_port
from weaviate_store import until_searchable

from services.host.wiring import Host
from shared.domain.errors import ConfigurationError, StoreUnavailable
from shared.domain.ids import doc_key, row_id
from shared.generation import Generation
from shared.observe.progress import Progress
from shared.ports import Row
from shared.settings import Settings
from shared.stores.weaviate.open import shake_hands
from shared.stores.weaviate.store import Address, WeaviateStore

DIMENSIONS = 8


def row() -> Row:
    key, vector = doc_key("notes", "a.md"), np.eye(DIMENSIONS, dtype=np.float32)[0]
    name = row_id(key, "0" * 64, 1)
    return Row(name, key, "notes", "a.md", 1, "0" * 64, "", (), "a text", {}, vector)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def trusted(authority, tmp_path_factory):
    """The file for `store.weaviate.tls_ca`."""
    file = tmp_path_factory.mktemp("trusted") / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return file


@pytest.fixture(scope="module")
def encrypted(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("encrypted")
    server = weaviate_server.WeaviateServer(weaviate_server.own_executable(), folder)
    server.certificate = folder / "server.pem"
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(server.certificate)
    server.start()
    yield server.reached
    server.stop()


async def opened(url, grpc, trusted):
    return await WeaviateStore.open(
        Address.of(url, grpc, trusted), name=f"Tls{uuid.uuid4().hex}", dimensions=DIMENSIONS
    )


async def test_rows_are_written_and_found_over_encrypted_connections(encrypted, trusted):
    """By the settings, as a service opens it."""
    reached = {"url": encrypted.url, "grpc": encrypted.grpc, "tls_ca": trusted}
    settings = Settings.model_validate({"store": {"kind": "weaviate", "weaviate": reached}})
    made = Generation.from_dict(generation())
    async with contextlib.AsyncExitStack() as stack:
        host = Host(settings, trusted.parent, None, Progress())
        stack.push_async_callback(host.close)
        store = await host.generation(made).store()
        await store.upsert([row()])
        await until_searchable(store, [row()])

        assert encrypted.url.startswith("https://")
        assert await store.count() == 1


def generation():
    given = Generation(
        model="fake-8",
        numeric="f32",
        fingerprint="f" * 64,
        dimensions=DIMENSIONS,
        chunking=Settings().chunking,
    )
    return given.as_dict()


async def test_a_certificate_of_another_authority_is_refused(encrypted, tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    for other in (tmp_path / "other.pem", None):
        with pytest.raises(ConfigurationError, match=r"does not trust .*store\.weaviate\.tls_ca"):
            await opened(encrypted.url, encrypted.grpc, other)


async def test_a_certificate_of_another_host_is_refused(encrypted, trusted):
    url = encrypted.url.replace("127.0.0.1", "localhost")
    with pytest.raises(ConfigurationError, match="does not trust"):
        await opened(url, encrypted.grpc, trusted)


async def test_a_wrong_certificate_at_one_of_the_two_ports_is_enough(encrypted, trusted):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    listening = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port} has a certificate"):
            await opened(encrypted.url, f"127.0.0.1:{port}", trusted)


async def test_a_server_that_does_not_encrypt_is_refused(weaviate, trusted):
    with pytest.raises(ConfigurationError, match="does not speak TLS"):
        await opened(weaviate.url.replace("http:", "https:"), weaviate.grpc, trusted)


async def test_a_server_that_encrypts_is_not_spoken_to_in_the_clear(encrypted):
    with pytest.raises(ConfigurationError, match="begins with https:"):
        await opened(encrypted.url.replace("https:", "http:"), encrypted.grpc, None)


async def test_a_server_that_is_away_may_come_back(trusted):
    port = free_port()
    with pytest.raises(StoreUnavailable, match="ConnectionRefusedError"):
        await shake_hands(("127.0.0.1", port), ssl.create_default_context(cafile=trusted), 10)
