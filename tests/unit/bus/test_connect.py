"""Who a process is, and what its connection is told."""

import asyncio
from pathlib import Path

import nkeys
import pytest

from shared.bus.access.connect import (
    Access,
    access_of,
    arguments,
    broker_arguments,
    connect,
    identity_of,
    role_of,
)
from shared.domain.errors import ConfigurationError
from shared.settings import Bus

SEED = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER).decode()
URL = "nats://nats:4222"


@pytest.mark.parametrize(
    ("file", "identity"),
    [
        (None, "embedder"),
        ("keys/embedder.nk", "embedder"),
        ("keys/admin.nk", "admin"),
        ("keys/publisher-wiki.nk", "publisher-wiki"),
        ("/run/secrets/nkey", "embedder"),
    ],
)
def test_a_process_is_whom_its_key_file_is_named_after_or_what_it_runs(file, identity):
    assert identity_of(Path(file) if file else None, "embedder") == identity


def test_a_process_of_several_services_needs_the_key_that_may_do_all():
    assert role_of(["indexer"]) == "indexer"
    assert role_of(["indexer", "validator"]) == "admin"


def test_the_bundled_server_is_shown_no_key(tmp_path):
    access = access_of(Bus(nkey=tmp_path / "none.nk"), "embedder")

    assert access == Access("embedder")
    assert access.provisions


def test_the_seed_is_read_from_a_file_also_among_other_lines(tmp_path):
    file = tmp_path / "indexer.nk"
    file.write_text(f"-----BEGIN USER NKEY SEED-----\n{SEED}\n------END USER NKEY SEED------\n")
    access = access_of(Bus(url=URL, nkey=file), "x")

    assert (access.identity, access.seed) == ("indexer", SEED)


def test_a_seed_in_the_environment_goes_before_the_file(tmp_path):
    access = access_of(Bus(url=URL, nkey=tmp_path / "none.nk", nkey_seed=SEED), "indexer")

    assert access.seed == SEED


@pytest.mark.parametrize("text", ["", SEED[:-4], "SA" + SEED[2:], "SUAX"])
def test_what_is_no_seed_is_said_without_quoting_it(tmp_path, text):
    file = tmp_path / "indexer.nk"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="not the seed") as caught:
        access_of(Bus(url=URL, nkey=file), "indexer")

    assert not text or text not in str(caught.value)


def test_a_key_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"bus\.nkey: .*none\.nk: No such file"):
        access_of(Bus(url=URL, nkey=tmp_path / "none.nk"), "indexer")


@pytest.mark.parametrize("name", ["tls_ca", "tls_cert"])
def test_a_certificate_that_is_none_is_named(tmp_path, name):
    file = tmp_path / "x.pem"
    for text in (None, "no certificate"):
        if text:
            file.write_text(text)
        with pytest.raises(ConfigurationError, match=rf"bus\.{name}: "):
            access_of(Bus(url=URL, **{name: file}), "indexer")


def test_the_seed_is_in_no_text_about_the_settings_or_the_access():
    bus = Bus(url=URL, nkey_seed=SEED)
    shown = repr(bus) + bus.model_dump_json() + repr(access_of(bus, "indexer"))

    assert SEED not in shown


def test_answers_come_to_an_inbox_of_its_own_with_and_without_a_key():
    for access in (Access("indexer"), Access("indexer", SEED)):
        assert arguments(access)["inbox_prefix"] == b"_INBOX_indexer"
        assert broker_arguments(access)["inbox_prefix"] == b"_INBOX_indexer"


@pytest.mark.parametrize(
    ("access", "provisions"),
    [
        (Access("indexer"), True),
        (Access("admin", SEED), True),
        (Access("indexer", SEED), False),
    ],
)
def test_with_keys_only_the_admin_provisions(access, provisions):
    assert access.provisions == provisions


async def test_a_server_that_ends_the_connection_without_a_word_has_not_accepted_the_client():
    """So does one that closes before its refusal is read."""

    async def serve(reader, writer):
        writer.write(b'INFO {"max_payload":1048576}\r\n')
        await reader.readline()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(ConnectionResetError, match="before it accepted the client"):
            await connect(f"nats://{host}:{port}", Access(), allow_reconnect=False)
