"""Make `minilm_int8.npz` beside `quantise.py`: what int8 needs to know of the packaged model.

    python bench/make_int8.py [--texts FOLDER] [--out FILE]

Runs the float32 graph on sample texts, notes the range of every channel that a linear layer reads,
and picks for each place the SmoothQuant exponent and clipping with the smallest error of the
layer's output, relative to each token's own. The texts: the manual of the Python language and the
descriptions of the installed packages, never those that accuracy is judged on. Another file is
another fingerprint.
"""

import argparse
import pydoc_data.topics
import random
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from itertools import product
from pathlib import Path

import numpy as np
import openvino as ov
from safetensors.numpy import load_file

from shared.encoders.batching import plan_batches
from shared.encoders.local import files
from shared.encoders.local.backend import pack
from shared.encoders.local.minilm import bert, quantise
from shared.encoders.local.tokens import ModelTokenizer
from shared.encoders.models import MINILM

EXPONENTS = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
CLIPS = (1.0, 0.9, 0.8)
OUTSIZE = 30
"""A channel whose largest contribution is so many times the median one stays in float32."""
LENGTHS = (800, 800, 800, 800, 400, 200, 60)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--texts", type=Path, help="folder of .md and .txt files")
    parser.add_argument("--number", type=int, default=500, help="texts used (default 500)")
    parser.add_argument(
        "--out", type=Path, default=Path("shared/encoders/local/minilm/minilm_int8.npz")
    )
    options = parser.parse_args()
    documents = _read(options.texts) if options.texts else _at_hand()
    texts = sample(list(documents), options.number) + odd_texts()
    folder = files.packaged_folder()
    weights = load_file(folder / files.WEIGHTS)
    seen = observe(folder, weights, texts)
    made = {}
    for place, inputs in seen.items():
        made[place], error, chosen = calibrate(bert.stacked(weights, place), inputs)
        kept = np.count_nonzero(made[place].smooth == 0)
        print(f"{place[0]} {place[1]:5} exponent, clip {chosen}  error {error:.6f}  float32 {kept}")
    data = quantise.dump(made)
    options.out.write_bytes(data)
    print(f"{options.out}: {len(data):,} bytes, sha256 {quantise.digest(data)}")
    return 0


class Inputs:
    """Range of every channel of a layer's input over all tokens, and some whole tokens of it."""

    def __init__(self, width: int) -> None:
        self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)
        self.tokens: list[np.ndarray] = []

    def add(self, values: np.ndarray, chance: np.random.Generator) -> None:
        self.low = np.minimum(self.low, values.min(0))
        self.high = np.maximum(self.high, values.max(0))
        # the tokens that set a range are kept too: they are what a clip would hurt
        extreme = np.unique(np.argsort(np.abs(values).max(1))[-2:])
        some = chance.choice(len(values), min(len(values), 14), replace=False)
        self.tokens.append(values[np.concatenate([some, extreme])].copy())


def observe(folder: Path, weights: bert.Weights, texts: list[str]) -> dict[quantise.Place, Inputs]:
    """Run the float32 model and look at what every linear layer is given."""
    graph = bert.BertGraph(weights, bert.Shape(), None)
    model = graph.build(show_inputs=True)
    request = (
        ov.Core()
        .compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        .create_infer_request()
    )
    tokens = ModelTokenizer(folder / files.TOKENIZER, window=MINILM.window).encode(texts)
    chance = np.random.default_rng(0)
    seen: dict[quantise.Place, Inputs] = {}
    for batch in plan_batches([len(t) for t in tokens], max_tokens=1024, max_items=64):
        ids, mask = pack([tokens[i] for i in batch])
        request.infer([ids, mask])
        for number, place in enumerate(graph.inputs, start=1):
            values = request.get_output_tensor(number).data[mask.astype(bool)]
            seen.setdefault(place, Inputs(values.shape[1])).add(values, chance)
    return seen


def calibrate(
    weight: np.ndarray, inputs: Inputs
) -> tuple[quantise.Calibration, float, tuple[float, float]]:
    """The calibration with the smallest error of the layer's output.

    The error is taken relative to each token: a LayerNorm follows, and the few tokens with enormous
    outputs would else decide alone.
    """
    tokens = np.concatenate(inputs.tokens)
    wanted = tokens @ weight.T
    sizes = (wanted**2).sum(1)
    best = None
    for exponent, clip in product(EXPONENTS, CLIPS):
        tried = _calibration(weight, inputs, exponent, clip)
        missed = ((_imitate(tokens, weight, tried) - wanted) ** 2).sum(1)
        error = float((missed / sizes).mean())
        if best is None or error < best[1]:
            best = tried, error, (exponent, clip)
    assert best is not None
    return best


def _calibration(
    weight: np.ndarray, inputs: Inputs, exponent: float, clip: float
) -> quantise.Calibration:
    activation = np.maximum(np.maximum(-inputs.low, inputs.high), 1e-4)
    strength = np.maximum(np.abs(weight).max(0), 1e-5)
    smooth = strength ** (1 - exponent) / activation**exponent
    smooth /= np.exp(np.log(smooth).mean())
    contribution = activation * strength
    smooth[contribution > OUTSIZE * np.median(contribution)] = 0
    smooth = smooth.astype(np.float16).astype(np.float32)
    low, high = (inputs.low * smooth).min(), (inputs.high * smooth).max()
    return quantise.Calibration(smooth, *quantise.grid(float(low * clip), float(high * clip)))


def _imitate(
    tokens: np.ndarray, weight: np.ndarray, calibration: quantise.Calibration
) -> np.ndarray:
    """What the int8 layer answers, in float32."""
    made = quantise.quantise(weight, calibration)
    step = (made.high - made.low) / np.float32(255)
    levels = np.rint((np.clip(tokens * made.smooth, made.low, made.high) - made.low) / step)
    exact = tokens[:, made.exact] @ weight[:, made.exact].T
    return (levels * step + made.low) @ (made.weight * made.steps[:, None]).T + exact


def sample(documents: list[str], number: int) -> list[str]:
    pieces = [text[i : i + 800] for text in documents for i in range(0, len(text), 700)]
    pieces = [piece for piece in pieces if len(piece.strip()) > 40]
    chance = random.Random(7)
    chosen = chance.sample(pieces, min(number, len(pieces)))
    return [piece[: chance.choice(LENGTHS)] for piece in chosen]


def odd_texts() -> list[str]:
    """What prose does not hold: numbers, other scripts, single words, noise."""
    chance = random.Random(11)
    scripts = ((0x0400, 0x44F), (0x4E00, 0x9FA5), (0x0905, 0x0939), (0x0627, 0x064A), (0x21, 0x7E))
    made = [
        " ".join(
            "".join(chr(chance.randint(*script)) for _ in range(chance.randint(1, 8)))
            for _ in range(chance.randint(1, 60))
        )
        for script in scripts
        for _ in range(8)
    ]
    made += [" ".join(f"{chance.random() * 10**n:.{n}f}" for _ in range(40)) for n in range(6)]
    return [*made, "", "a", "word", "...", "1 2 3", "the " * 200, f"{chance.getrandbits(2000):x}"]


def _read(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".md", ".txt"}:
            yield path.read_text(encoding="utf-8", errors="replace")


def _at_hand() -> Iterable[str]:
    yield from (text for _, text in sorted(pydoc_data.topics.topics.items()))
    packages = {d.metadata["Name"]: d for d in metadata.distributions()}
    for _, package in sorted(packages.items()):
        yield str(package.metadata.get_payload() or "")[:6000]


if __name__ == "__main__":
    sys.exit(main())
