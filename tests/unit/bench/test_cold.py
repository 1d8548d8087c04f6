"""The cold start on a CPU that cannot run every numeric class."""

import importlib.util
import sys
from pathlib import Path

import pytest

from shared.encoders.local import cpu

BENCH = Path(__file__).parents[3] / "bench"
SUMMARY = {"in_step": True, "encode_s": 1.0, "documents": {"found": 4}}


@pytest.fixture
def cold(monkeypatch):
    """The bench, whose runs take no time; `cold.ran` holds the numerics of its runs."""
    monkeypatch.syspath_prepend(BENCH)
    spec = importlib.util.spec_from_file_location("cold", BENCH / "cold.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ran = []

    class Instep:
        def __init__(self, data, **env):
            module.ran.append(env["INSTEP_EMBEDDING__NUMERIC"])

        def json(self, *args):
            return SUMMARY, 2.0

    monkeypatch.setattr(module, "Instep", Instep)
    monkeypatch.setattr(module, "texts_of", lambda data: ["text"] * 8)
    monkeypatch.setattr(module, "reference", lambda texts, rounds: [3.0])
    yield module
    for name in ("harness", "on_weaviate"):
        sys.modules.pop(name, None)


@pytest.fixture
def run(cold, monkeypatch, capsys):
    def run(*args):
        monkeypatch.setattr(sys, "argv", ["cold.py", "--count", "1", "--rounds", "1", *args])
        cold.main()
        return capsys.readouterr().out

    return run


def test_without_a_cpu_for_int8_the_figures_of_f32_are_told_and_why_int8_has_none(
    cold, run, monkeypatch
):
    monkeypatch.setattr(cpu, "flags", lambda: frozenset({"avx2"}))
    told = run()

    assert cold.ran == ["f32"]
    assert "up --once f32: 2.00 s whole process = 1.50 x" in told
    assert "up --once int8: refused: embedding.numeric is int8, but this CPU has neither" in told


def test_int8_alone_on_such_a_cpu_is_refused_and_nothing_is_run(cold, run, monkeypatch):
    monkeypatch.setattr(cpu, "flags", lambda: frozenset({"avx2"}))

    assert "int8: refused" in run("--numeric", "int8")
    assert cold.ran == []


def test_with_such_a_cpu_both_are_run(cold, run, monkeypatch):
    monkeypatch.setattr(cpu, "flags", lambda: cpu.INT8_FLAGS)
    told = run()

    assert cold.ran == ["f32", "int8"]
    assert "refused" not in told
    assert "up --once int8: 2.00 s" in told
