import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.encoders.local.minilm import quantise
from shared.encoders.local.minilm.quantise import Calibration


def weights(outputs=6, inputs=16):
    return np.random.default_rng(3).standard_normal((outputs, inputs)).astype(np.float32)


def calibration(smooth):
    return Calibration(smooth, np.float32(-1), np.float32(1))


def test_int8_weights_are_the_weights_within_half_a_step():
    smooth = np.linspace(0.5, 2, 16, dtype=np.float32)
    made = quantise.quantise(weights(), calibration(smooth))

    restored = made.weight * made.steps[:, None]

    assert made.weight.dtype == np.int8
    assert np.abs(restored - weights() / smooth).max() <= made.steps.max() / 2 + 1e-6


def test_a_channel_that_is_too_large_stays_out_of_the_int8_weights():
    smooth = np.ones(16, np.float32)
    smooth[[2, 9]] = 0
    huge = weights()
    huge[:, 2] *= 1000

    made = quantise.quantise(huge, calibration(smooth))

    assert made.exact.tolist() == [2, 9]
    assert not made.weight[:, [2, 9]].any()
    assert made.steps.max() < 0.1


def test_the_int8_layer_answers_what_the_layer_answers():
    """As the graph computes it: smooth, round to 256 steps, multiply, add the exact channels."""
    chance = np.random.default_rng(5)
    x = chance.standard_normal((50, 16)).astype(np.float32)
    x[:, [2, 9]] *= 100
    smooth = 1 / np.abs(x).max(axis=0)
    smooth[[2, 9]] = 0
    low, high = quantise.grid(float((x * smooth).min()), float((x * smooth).max()))
    made = quantise.quantise(weights(), Calibration(smooth, low, high))

    step = (made.high - made.low) / 255
    levels = np.rint(np.clip(x * made.smooth, made.low, made.high) / step) * step
    answer = levels @ (made.weight * made.steps[:, None]).T
    answer += x[:, made.exact] @ weights()[:, made.exact].T

    wanted = x @ weights().T
    assert np.abs(answer - wanted).max() <= 0.02 * np.abs(wanted).max()


def test_a_row_of_zeros_does_not_divide_by_zero():
    made = quantise.quantise(np.zeros((2, 4), np.float32), calibration(np.ones(4, np.float32)))

    assert not made.weight.any()


@given(st.floats(-50, 49), st.floats(0.01, 100))
def test_the_range_holds_zero_exactly(low, width):
    first, last = quantise.grid(low, low + width)
    step = (last - first) / 255

    assert first <= 0 <= last
    assert round(float(-first / step)) == pytest.approx(float(-first / step), abs=1e-3)


def test_a_calibration_survives_its_file():
    smooth = np.array([0, 0.5, 2], np.float32)
    kinds = dict.fromkeys(quantise.PLACES, calibration(smooth))
    data = quantise.dump({(0, kind): found for kind, found in kinds.items()})

    loaded = quantise.load(data)

    assert set(loaded) == {(0, kind) for kind in quantise.PLACES}
    assert loaded[0, "up"].smooth.tolist() == smooth.tolist()
    assert (loaded[0, "up"].low, loaded[0, "up"].high) == (-1, 1)


def test_the_packaged_calibration_covers_every_linear_layer_and_is_small():
    data = quantise.packaged()

    assert set(quantise.load(data)) == {(n, kind) for n in range(6) for kind in quantise.PLACES}
    assert len(data) < 64_000
