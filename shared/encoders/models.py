"""Models, and the fingerprints that name their vectors. Pure."""

import json
from dataclasses import dataclass, field
from typing import Final, Literal

from shared.domain.ids import short_digest

Numeric = Literal["f32", "int8"]

INT8_RECIPE: Final = 1
"""Grows when `local.minilm.quantise` would make other int8 weights of the same files."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The facts that decide the vector of a text, apart from the numeric class."""

    name: str
    weights_sha256: str
    tokenizer_sha256: str
    dimensions: int
    window: int
    """Most tokens that are read of a text, special tokens included."""
    pooling: str = "mean"
    normalise: bool = True
    prefix: str = ""
    """Put before every text."""
    languages: tuple[str, ...] = field(default=(), compare=False)
    """ISO 639-1 codes of those that it was trained on, which decide no vector; empty: not told."""
    files_sha256: str = ""
    """Of every file that decides a vector, configuration included; empty where the code holds the
    configuration."""


MINILM: Final = ModelSpec(
    name="all-MiniLM-L6-v2",
    weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    tokenizer_sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    dimensions=384,
    window=256,
    languages=("en",),
)
MINILM_CONFIGURATION: Final = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
}
"""sha256 of the files that describe to a library the computation of `bert`."""
PACKAGED: Final = {MINILM.name: MINILM, f"sentence-transformers/{MINILM.name}": MINILM}
"""Models that come as a wheel, by every name that settings may call them."""


def fingerprint(spec: ModelSpec, numeric: Numeric = "f32", artefact_digest: str = "") -> str:
    """Name of the vectors: 26 base32 characters; equal for models whose vectors may be mixed.

    Device, path, batch size and the model's name are left out: they change no vector.

    Args:
        artefact_digest: of the calibration that int8 needs; empty for f32.
    """
    parts: dict[str, str | int | bool] = {
        "weights": spec.weights_sha256,
        "tokenizer": spec.tokenizer_sha256,
        "window": spec.window,
        "pooling": spec.pooling,
        "normalise": spec.normalise,
        "prefix": spec.prefix,
        "numeric": numeric,
    }
    if spec.files_sha256:
        parts["files"] = spec.files_sha256
    if numeric == "int8":
        parts |= {"artefact": artefact_digest, "recipe": INT8_RECIPE}
    return short_digest(json.dumps(parts, sort_keys=True), 26)
