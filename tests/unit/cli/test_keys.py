"""`instep keys`: what lies in the folder afterwards, and who may read it."""

import json
import os
import stat
from argparse import Namespace

import nkeys
import pytest

from services.cli.exits import Stop
from services.cli.keys import bus as keys
from services.cli.parser import parse
from services.host.options import Options
from shared.bus.access.permissions import IDENTITIES
from shared.bus.admin.server import generations_of


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the command; returns what it printed as JSON."""
    monkeypatch.setenv("INSTEP_EMBEDDING__MODEL", "fake-64")
    folder = tmp_path / "keys"

    def run(*args, model="fake-64", **options):
        monkeypatch.setenv("INSTEP_EMBEDDING__MODEL", model)
        parsed: Namespace = parse(["keys", str(folder), *args])
        assert keys.run(parsed, Options(data=tmp_path / "data", json=True, **options)) == 0
        return json.loads(capsys.readouterr().out)

    run.folder = folder
    return run


def mode_of(file):
    return stat.S_IMODE(file.stat().st_mode)


def contents(folder):
    return {file.name: file.read_text() for file in sorted(folder.iterdir())}


def test_every_identity_has_a_key_that_only_its_owner_reads(run):
    run()
    for identity in IDENTITIES:
        file = run.folder / f"{identity}.nk"

        assert mode_of(file) == 0o600
        assert nkeys.from_seed(bytearray(file.read_text().strip().encode())).public_key in (
            (run.folder / "auth.conf").read_bytes()
        )


def test_only_what_is_no_secret_may_be_read_by_others(run):
    run("--bucket", "drop")
    open_to_all = {file.name for file in run.folder.iterdir() if mode_of(file) & 0o077}

    assert open_to_all == {"auth.conf", "nats.conf"}


def test_no_secret_is_in_a_file_that_others_may_read(run):
    run("--bucket", "drop")
    told = contents(run.folder)
    secrets = [text.strip() for name, text in told.items() if name.endswith((".nk", ".key"))]

    assert len(secrets) == len(IDENTITIES) + 4
    assert not [s for s in secrets if s in told["auth.conf"] + told["nats.conf"]]


def test_a_second_run_changes_nothing(run):
    run("--source", "wiki", "--bucket", "drop")
    before = contents(run.folder)
    second = run()

    assert second["made"] == []
    assert contents(run.folder) == before


def test_a_key_that_was_taken_away_is_made_anew_and_the_others_stay(run):
    run()
    before = contents(run.folder)
    (run.folder / "embedder.nk").unlink()
    second = run()
    after = contents(run.folder)

    assert second["made"] == ["embedder.nk", "auth.conf"]
    assert {name for name in after if after[name] != before[name]} == {"embedder.nk", "auth.conf"}


def test_by_force_every_secret_is_another(run):
    run()
    before = contents(run.folder)
    run("--force")
    after = contents(run.folder)

    assert not [name for name in after if name != "nats.conf" and after[name] == before[name]]


def test_a_changed_model_does_not_lock_the_services_out_of_the_live_generation(run):
    first = run()["generations"]
    both = run(model="fake-32")["generations"]

    assert len(both) == 2
    assert first[0] in both
    assert list(generations_of((run.folder / "auth.conf").read_text())) == both
    assert len(run("--force", model="fake-32")["generations"]) == 1


def test_a_key_of_ones_own_stays_and_goes_into_the_servers_environment(run):
    run.folder.mkdir()
    (run.folder / "weaviate.key").write_text("my-own-key\n")
    run()
    environment = (run.folder / "weaviate.env").read_text()

    assert "AUTHENTICATION_APIKEY_ALLOWED_KEYS=my-own-key\n" in environment
    assert "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED=false\n" in environment


@pytest.mark.parametrize("source", ["Wiki", "a.b", "*", "../x", ""])
def test_a_source_that_is_none_is_refused(run, source):
    with pytest.raises(Stop, match="a source name has"):
        run("--source", source)


def test_what_is_no_key_is_named_and_left_alone(run):
    run()
    file = run.folder / "gateway.nk"
    file.write_text("something else\n")
    with pytest.raises(Stop, match=r"gateway\.nk: not the seed"):
        run()

    assert file.read_text() == "something else\n"


@pytest.fixture
def given(monkeypatch):
    """Inodes that were given away, and to whom."""
    owned = {}

    def fchown(descriptor, uid, gid):
        owned[os.fstat(descriptor).st_ino] = (uid, gid)

    def chown(path, uid, gid, *, follow_symlinks=True):
        owned[path.stat(follow_symlinks=follow_symlinks).st_ino] = (uid, gid)

    monkeypatch.setattr(os, "fchown", fchown)
    monkeypatch.setattr(os, "chown", chown)
    return owned


def test_the_files_belong_to_whom_was_said(run, given):
    for _ in range(2):
        run("--owner", "10001")

        assert {file.stat().st_ino for file in run.folder.iterdir()} <= given.keys()
    assert set(given.values()) == {(10001, -1)}


def test_a_file_elsewhere_is_never_given_away(run, given, tmp_path):
    run()
    elsewhere = tmp_path / "elsewhere"
    (run.folder / "gateway.key").rename(elsewhere)
    (run.folder / "gateway.key").symlink_to(elsewhere)
    run("--owner", "10001")

    assert given
    assert elsewhere.stat().st_ino not in given


def test_who_may_not_give_files_away_is_told(run, monkeypatch):
    def refuse(descriptor, uid, gid):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(Stop, match="Operation not permitted"):
        run("--owner", "10001")


@pytest.mark.parametrize("name", ["nats.conf", "nats-cluster.conf"])
def test_lines_about_encryption_that_are_in_force_stay(run, name):
    run()
    file = run.folder / name
    before, _, commented = file.read_text().partition("#tls")
    mine = ("tls" + commented).replace("\n#", "\n ") + "websocket { port: 8443 }\n"
    file.write_text(before + mine)
    run("--source", "wiki", "--store", "/elsewhere")
    once = file.read_text()
    run("--store", "/elsewhere", "--force")

    assert once.endswith("\n" + mine)
    assert 'store_dir: "/elsewhere"' in once
    assert file.read_text().endswith("\n" + mine)


def test_lines_about_encryption_that_nobody_switched_on_are_written_anew(run):
    run()
    file = run.folder / "nats.conf"
    fresh = file.read_text()
    file.write_text(fresh.replace("server.pem", "another.pem") + "# a note\n")
    run()

    assert file.read_text() == fresh
