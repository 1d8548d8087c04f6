"""Where a gateway may listen, and what requests must show there."""

import errno
import fcntl
import os

import pytest

from services.gateway.build import credentials
from services.host.owner_key import OWNER_KEY, made_owner_key, owner_key
from shared.domain.errors import ConfigurationError
from shared.settings import Gateway

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


LOOPBACK = ("127.0.0.1", "127.8.9.10", "::1", "localhost", "LOCALHOST")


@pytest.mark.parametrize("host", BEYOND)
def test_without_a_key_of_the_settings_the_gateway_refuses_to_listen_beyond_loopback(
    host, tmp_path
):
    with pytest.raises(ConfigurationError, match="without a key"):
        credentials(Gateway(host=host), tmp_path)


@pytest.mark.parametrize("host", LOOPBACK)
def test_on_loopback_the_owner_s_key_is_made_and_asked_for(host, tmp_path):
    known = credentials(Gateway(host=host), tmp_path / "data")

    file = tmp_path / "data" / OWNER_KEY
    assert known.owner == owner_key(tmp_path / "data") == file.read_text().strip()
    assert len(known.owner or "") >= 43
    assert not known.any_host
    assert file.stat().st_mode & 0o777 == 0o600
    assert credentials(Gateway(host=host), tmp_path / "data").owner == known.owner


@pytest.mark.parametrize("host", BEYOND)
def test_with_a_key_the_gateway_listens_where_it_is_told(host, tmp_path):
    (tmp_path / "key").write_text("k" * 32)

    known = credentials(Gateway(host=host, key_file=tmp_path / "key"), tmp_path)

    assert (known.owner, known.any_host) == ("k" * 32, True)
    assert not (tmp_path / OWNER_KEY).exists()


@pytest.mark.parametrize("host", LOOPBACK)
def test_without_keys_it_answers_to_loopback_names_only(host, tmp_path):
    known = credentials(Gateway(host=host, auth="none"), tmp_path)

    assert not known.are_asked_for
    assert not known.any_host


@pytest.mark.parametrize("host", BEYOND)
def test_without_keys_it_listens_nowhere_else(host, tmp_path):
    with pytest.raises(ConfigurationError, match=r"gateway\.auth"):
        credentials(Gateway(host=host, auth="none"), tmp_path)


def test_no_keys_and_a_key_are_two_opinions(tmp_path):
    (tmp_path / "key").write_text("k" * 32)

    with pytest.raises(ConfigurationError, match=r"gateway\.key_file is set"):
        credentials(Gateway(auth="none", key_file=tmp_path / "key"), tmp_path)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606, 0o660])
def test_a_key_that_others_could_read_is_replaced(mode, tmp_path):
    before, _ = made_owner_key(tmp_path)
    (tmp_path / OWNER_KEY).chmod(mode)

    after, replaced = made_owner_key(tmp_path)

    assert replaced
    assert after != before
    assert after == owner_key(tmp_path)
    assert (tmp_path / OWNER_KEY).stat().st_mode & 0o777 == 0o600


def test_who_has_a_key_open_that_others_could_read_does_not_learn_the_next_one(tmp_path):
    made_owner_key(tmp_path)
    (tmp_path / OWNER_KEY).chmod(0o644)
    with (tmp_path / OWNER_KEY).open() as held:
        after, _ = made_owner_key(tmp_path)

        assert after not in held.read()
    assert [file.name for file in tmp_path.iterdir()] == [OWNER_KEY]


def test_a_process_that_waited_for_a_key_that_was_replaced_takes_the_new_one(tmp_path, monkeypatch):
    made_owner_key(tmp_path)
    (tmp_path / OWNER_KEY).chmod(0o644)
    replaced = []

    def lock(descriptor, kind):
        monkeypatch.undo()
        replaced.append(made_owner_key(tmp_path)[0])  # the other process was first

    monkeypatch.setattr(fcntl, "flock", lock)

    assert made_owner_key(tmp_path) == (replaced[0], False)


@pytest.mark.parametrize("call", ["flock", "fsync", "write"])
def test_whatever_the_file_system_refuses_is_said_with_the_place(call, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl if call == "flock" else os, call, refuse)

    with pytest.raises(ConfigurationError, match=f"{OWNER_KEY}: {os.strerror(errno.ENOLCK)}"):
        made_owner_key(tmp_path)


def test_an_empty_file_as_a_crash_leaves_it_gets_a_key(tmp_path):
    (tmp_path / OWNER_KEY).touch(0o600)

    key, replaced = made_owner_key(tmp_path)

    assert not replaced
    assert key == owner_key(tmp_path)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_is_no_file_is_refused(kind, tmp_path):
    place = tmp_path / OWNER_KEY
    if kind == "link":
        (tmp_path / "elsewhere").write_text("k" * 32)
        place.symlink_to(tmp_path / "elsewhere")
    elif kind == "folder":
        place.mkdir()
    else:
        os.mkfifo(place, 0o600)

    with pytest.raises(ConfigurationError, match=OWNER_KEY):
        made_owner_key(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make the file of another user")
def test_the_file_of_another_user_is_refused(tmp_path):
    (tmp_path / OWNER_KEY).touch(0o600)
    os.chown(tmp_path / OWNER_KEY, 65534, -1)

    with pytest.raises(ConfigurationError, match="not a file of this user"):
        made_owner_key(tmp_path)
