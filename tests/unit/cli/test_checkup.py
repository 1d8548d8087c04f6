from dataclasses import replace

import pytest

from services.cli.commands.doctor import DoctorObservations, FolderSeen, count_folders, findings

GOOD = DoctorObservations(
    data=".instep",
    data_exists=True,
    free_bytes=50 * 1024**3,
    server="2.15.1",
    instance={"pid": 7, "version": "0.1.0", "gateway_url": "http://h"},
    version="0.1.0",
    checks=[{"name": "bus", "level": "ok", "text": "connected"}],
    folders=(FolderSeen("docs", "./docs", True, 12),),
    watches=8192,
    model="all-MiniLM-L6-v2",
)


def levels(seen):
    return {finding.name: finding.level for finding in findings(seen)}


def test_a_healthy_instance_has_only_ok():
    found = findings(GOOD)

    assert {finding.level for finding in found} == {"ok"}
    assert "nats-server 2.15.1" in [finding.text for finding in found]
    assert "bus: connected" in [finding.text for finding in found]


@pytest.mark.parametrize(
    ("change", "name", "level"),
    [
        ({"settings_faults": ["chunkng is not a setting"]}, "settings", "FAIL"),
        ({"data_writable": False}, "data folder", "FAIL"),
        ({"free_bytes": 500 * 1024**2}, "data folder", "WARN"),
        ({"free_bytes": 1024**2}, "data folder", "FAIL"),
        ({"server": ""}, "nats-server", "FAIL"),
        ({"unreachable": "does not answer", "checks": None}, "instance", "FAIL"),
        ({"version": "0.2.0"}, "instance", "WARN"),
        ({"folders": (FolderSeen("docs", "x", False),)}, "source docs", "FAIL"),
        ({"folders": (FolderSeen("docs", "x", True, 11_300),)}, "inotify", "WARN"),
        ({"model_fault": "not installed"}, "model", "FAIL"),
        ({"numeric": "int8"}, "processor", "FAIL"),
        ({"checks": [{"name": "bus", "level": "FAIL", "text": "x"}]}, "bus", "FAIL"),
    ],
)
def test_each_fault_is_found_and_has_a_fix(change, name, level):
    seen = replace(GOOD, **change)

    assert levels(seen)[name] == level
    finding = next(f for f in findings(seen) if f.name == name)
    assert finding.fix or name == "bus"
    others = {n: word for n, word in levels(seen).items() if n != name}
    assert set(others.values()) <= {"ok"}


def test_without_an_instance_the_rest_is_looked_at():
    found = levels(replace(GOOD, instance=None, checks=None))

    assert found["instance"] == "ok"
    assert found["model"] == "ok"


def test_a_server_of_the_settings_needs_no_bundled_one():
    assert "nats-server" not in levels(replace(GOOD, own_server=False, server=""))


def test_a_polled_folder_needs_no_watches():
    polled = (FolderSeen("docs", "x", True, 11_300, watch="poll"),)

    assert "inotify" not in levels(replace(GOOD, folders=polled))


def test_int8_is_fine_where_the_processor_has_it():
    seen = replace(GOOD, numeric="int8", int8_flags=frozenset({"avx512_vnni"}))

    assert levels(seen)["processor"] == "ok"


def test_hidden_folders_and_the_data_folder_are_not_counted(tmp_path):
    for name in ("a/b", ".git/x", "data/y"):
        (tmp_path / name).mkdir(parents=True)

    assert count_folders(tmp_path, never=tmp_path / "data") == 3
    assert count_folders(tmp_path, never=tmp_path / "data", most=2) == 2
