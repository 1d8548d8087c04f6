"""The BERT encoder of MiniLM as an OpenVINO graph, built by hand: no torch, no converter.

Pooling and normalisation are in the graph. With a `Quantised` the linear layers get int8 weights
and a quantiser before their input, which OpenVINO turns into int8 kernels.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

# isort: off
import shared.encoders.local.minilm.silence  # noqa: F401 - before openvino
import openvino as ov

# isort: on
from numpy.typing import NDArray
from openvino import opset6
from openvino import opset13 as op

from shared.encoders.local.minilm.quantise import PLACES, Place, Quantised

Weights = Mapping[str, NDArray[np.float32]]
Node = Any
_FAR: Final = np.float32(-1e9)
"""Added to the score of padding: its share of the softmax is exactly 0 in float32."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes that do not follow from the weights alone."""

    layers: int = 6
    heads: int = 12
    epsilon: float = 1e-12


class BertGraph:
    """Builds one `ov.Model`, once."""

    def __init__(
        self, weights: Weights, shape: Shape, quantised: Mapping[Place, Quantised] | None
    ) -> None:
        self._weights, self._shape, self._quantised = weights, shape, quantised or {}
        self._width = weights["embeddings.LayerNorm.weight"].shape[0]
        self.inputs: dict[Place, Node] = {}
        """Input of every linear layer, for calibration."""

    def build(self, *, show_inputs: bool = False) -> ov.Model:
        ids = op.parameter([-1, -1], ov.Type.i32, name="input_ids")
        mask = op.parameter([-1, -1], ov.Type.i32, name="attention_mask")
        present = op.convert(mask, "f32")
        absent = op.subtract(op.constant(np.float32(1)), present)
        bias = op.unsqueeze(op.multiply(absent, op.constant(_FAR)), _ints(1, 2))
        state = self._embed(ids)
        for layer in range(self._shape.layers):
            state = self._layer(state, bias, layer)
        results = [op.result(_pool(state, present), name="vectors")]
        if show_inputs:
            results += [op.result(node) for node in self.inputs.values()]
        return ov.Model(results, [ids, mask], "bert")

    def _embed(self, ids: Node) -> Node:
        weights = self._weights
        length = op.gather(op.shape_of(ids), _ints(1), _ints(0))
        # one text has one segment, so its embedding joins the positions once and for all
        segment = weights["embeddings.token_type_embeddings.weight"][0]
        positions = (weights["embeddings.position_embeddings.weight"] + segment)[None]
        words = op.constant(weights["embeddings.word_embeddings.weight"])
        state = op.gather(words, ids, op.constant(np.int64(0)))
        placed = op.slice(op.constant(positions), _ints(0), length, _ints(1), _ints(1))
        return self._norm(op.add(state, placed), "embeddings.LayerNorm")

    def _layer(self, state: Node, bias: Node, layer: int) -> Node:
        prefix = f"encoder.layer.{layer}"
        query, key, value = (
            self._split_heads(part) for part in self._linear(state, (layer, "qkv"))
        )
        context = op.scaled_dot_product_attention(query, key, value, bias)
        context = op.reshape(
            op.transpose(context, _ints(0, 2, 1, 3)), _ints(0, 0, self._width), True
        )
        (out,) = self._linear(context, (layer, "out"))
        state = self._norm(op.add(out, state), f"{prefix}.attention.output.LayerNorm")
        (up,) = self._linear(state, (layer, "up"))
        (down,) = self._linear(op.gelu(up, "ERF"), (layer, "down"))
        return self._norm(op.add(down, state), f"{prefix}.output.LayerNorm")

    def _linear(self, state: Node, place: Place) -> list[Node]:
        """One output for each weight matrix that reads this input."""
        self.inputs[place] = state
        quantised = self._quantised.get(place)
        if quantised:
            return [self._bias(x, name) for x, name in self._int8(state, place, quantised)]
        weights = self._weights
        return [
            self._bias(_product(state, op.constant(weights[f"{name}.weight"])), name)
            for name in names(place)
        ]

    def _int8(self, state: Node, place: Place, layer: Quantised) -> Iterator[tuple[Node, str]]:
        smooth = op.multiply(state, op.constant(layer.smooth[None, None]))
        low, high = op.constant(layer.low), op.constant(layer.high)
        levels = op.fake_quantize(smooth, low, high, low, high, 256)
        start = 0
        for name in names(place):
            weight = self._weights[f"{name}.weight"]
            rows = slice(start, start + len(weight))
            start += len(weight)
            whole = op.convert(op.constant(layer.weight[rows]), "f32")
            product = _product(levels, op.multiply(whole, op.constant(layer.steps[rows, None])))
            if len(layer.exact):
                few = op.gather(state, op.constant(layer.exact), op.constant(np.int64(2)))
                columns = np.ascontiguousarray(weight[:, layer.exact])
                product = op.add(product, _product(few, op.constant(columns)))
            yield product, name

    def _bias(self, product: Node, name: str) -> Node:
        return op.add(product, op.constant(self._weights[f"{name}.bias"]))

    def _split_heads(self, state: Node) -> Node:
        heads = self._shape.heads
        split = op.reshape(state, _ints(0, 0, heads, self._width // heads), True)
        return op.transpose(split, _ints(0, 2, 1, 3))

    def _norm(self, state: Node, name: str) -> Node:
        normal = opset6.mvn(state, _ints(-1), True, self._shape.epsilon, "INSIDE_SQRT")
        scaled = op.multiply(normal, op.constant(self._weights[f"{name}.weight"]))
        return op.add(scaled, op.constant(self._weights[f"{name}.bias"]))


def names(place: Place) -> tuple[str, ...]:
    """Names of the linear layers at a place, as the weights file calls them."""
    layer, kind = place
    return tuple(f"encoder.layer.{layer}.{name}" for name in PLACES[kind])


def stacked(weights: Weights, place: Place) -> NDArray[np.float32]:
    """Weights of a place as one matrix, shape (outputs, inputs)."""
    return np.concatenate([weights[f"{name}.weight"] for name in names(place)])


def _product(state: Node, weight: Node) -> Node:
    return op.matmul(state, weight, False, True)


def _pool(state: Node, present: Node) -> Node:
    """Unit vector of the sum over real tokens: dividing it by their number would change nothing."""
    total = op.squeeze(op.matmul(op.unsqueeze(present, _ints(1)), state, False, False), _ints(1))
    return op.normalize_l2(total, _ints(1), 1e-24, "max")


def _ints(*values: int) -> Node:
    return op.constant(np.array(values, np.int64))
