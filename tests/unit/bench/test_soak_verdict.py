"""What a soak calls flat."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[3] / "bench" / "soak_verdict.py"


@pytest.fixture(scope="module")
def soak():
    spec = importlib.util.spec_from_file_location("soak_verdict", FILE)
    assert spec
    assert spec.loader
    module = sys.modules["soak_verdict"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["soak_verdict"]


def samples(soak, values, **others):
    return [
        soak.Sample(10.0 * n, {"size": value, **{k: v[n] for k, v in others.items()}})
        for n, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("values", "passed"),
    [
        ([100.0] * 60, True),
        ([100 + 10 * (n % 7) for n in range(60)], True),  # a saw-tooth
        ([100 + 5 * math.sin(n) for n in range(60)], True),
        ([100 + n for n in range(60)], False),
        ([200 - n for n in range(60)], True),
        ([100 + n + 10 * (n % 7) for n in range(60)], False),
    ],
)
def test_a_curve_fails_when_it_grows_and_not_when_it_swings(soak, values, passed):
    curve = soak.Curve("size", share=0.1)

    assert soak.judge(curve, samples(soak, values)).passed is passed


def test_a_curve_may_grow_with_its_cause_and_no_faster(soak):
    curve = soak.Curve("size", per="paths", rate=1, why="one each")
    paths = [50 + n for n in range(60)]

    assert soak.judge(curve, samples(soak, paths, paths=paths)).passed
    assert not soak.judge(curve, samples(soak, [2 * p for p in paths], paths=paths)).passed


def test_a_figure_that_was_never_measured_is_no_fault(soak):
    assert soak.judge(soak.Curve("bodies"), samples(soak, [1.0] * 9)).passed


@pytest.mark.parametrize(("last", "passed"), [(0.5, True), (0.8, True), (1.5, False)])
def test_freshness_may_not_become_half_as_long_again(soak, last, passed):
    minutes = [{"p50_s": 0.1, "p95_s": 0.5}] * 12 + [{"p50_s": 0.1, "p95_s": last}] * 8

    assert soak.steady(minutes).passed is passed


def test_the_warm_up_is_at_most_half_of_a_run(soak):
    assert (soak.warm_up_s(60), soak.warm_up_s(1200)) == (30, 240)
