"""The graph of the model, before any CPU compiles it: float32 and int8 have their own."""

import numpy as np
import pytest

from shared.encoders.local.minilm import bert, quantise
from shared.encoders.local.minilm.quantise import Calibration

WIDTH, INNER, WORDS = 8, 16, 20
SHAPE = bert.Shape(layers=2, heads=2)


def weights():
    chance = np.random.default_rng(3)

    def some(*shape):
        return chance.standard_normal(shape).astype(np.float32)

    found = {
        "embeddings.word_embeddings.weight": some(WORDS, WIDTH),
        "embeddings.position_embeddings.weight": some(32, WIDTH),
        "embeddings.token_type_embeddings.weight": some(2, WIDTH),
        "embeddings.LayerNorm.weight": some(WIDTH),
        "embeddings.LayerNorm.bias": some(WIDTH),
    }
    for layer in range(SHAPE.layers):
        prefix = f"encoder.layer.{layer}"
        for norm in ("attention.output.LayerNorm", "output.LayerNorm"):
            found[f"{prefix}.{norm}.weight"], found[f"{prefix}.{norm}.bias"] = (
                some(WIDTH),
                some(WIDTH),
            )
        for kind in quantise.PLACES:
            rows, columns = {"up": (INNER, WIDTH), "down": (WIDTH, INNER)}.get(kind, (WIDTH, WIDTH))
            for name in bert.names((layer, kind)):
                found[f"{name}.weight"], found[f"{name}.bias"] = some(rows, columns), some(rows)
    return found


def quantised(found, *, exact=()):
    made = {}
    for layer in range(SHAPE.layers):
        for kind in quantise.PLACES:
            matrix = bert.stacked(found, (layer, kind))
            smooth = np.ones(matrix.shape[1], np.float32)
            smooth[list(exact)] = 0
            calibration = Calibration(smooth, *quantise.grid(-4, 4))
            made[layer, kind] = quantise.quantise(matrix, calibration)
    return made


def kinds(model):
    """How many operations of each type, and how many constants of int8, the graph has."""
    operations = model.get_ordered_ops()
    names = [each.get_type_name() for each in operations]
    small = [
        each
        for each in operations
        if each.get_type_name() == "Constant" and each.get_element_type().get_type_name() == "i8"
    ]
    return {"FakeQuantize": names.count("FakeQuantize"), "int8": len(small)}


def test_float32_has_no_int8_in_it():
    model = bert.BertGraph(weights(), SHAPE, None).build()

    assert kinds(model) == {"FakeQuantize": 0, "int8": 0}


def test_int8_has_a_quantiser_before_every_place_and_int8_weights_in_every_layer():
    found = weights()
    model = bert.BertGraph(found, SHAPE, quantised(found)).build()

    assert kinds(model) == {
        "FakeQuantize": 4 * SHAPE.layers,
        "int8": 6 * SHAPE.layers,
    }


@pytest.mark.parametrize("kind", ["f32", "int8", "int8 with exact channels"])
def test_any_number_of_texts_of_any_length_gives_a_vector_each(kind):
    found = weights()
    made = None if kind == "f32" else quantised(found, exact=(1,) if "exact" in kind else ())
    model = bert.BertGraph(found, SHAPE, made).build()
    ids, mask = model.inputs

    assert [each.get_any_name() for each in model.inputs] == ["input_ids", "attention_mask"]
    assert ids.partial_shape.is_dynamic
    assert mask.partial_shape.is_dynamic
    model.reshape({"input_ids": [3, 8], "attention_mask": [3, 8]})
    assert list(model.outputs[0].shape) == [3, WIDTH]


def test_each_place_shows_its_input_for_calibration():
    graph = bert.BertGraph(weights(), SHAPE, None)
    model = graph.build(show_inputs=True)

    assert len(model.outputs) == 1 + 4 * SHAPE.layers
    assert set(graph.inputs) == {(n, kind) for n in range(SHAPE.layers) for kind in quantise.PLACES}
