from dataclasses import fields, replace

import pytest

from shared.encoders.local.minilm import quantise
from shared.encoders.models import MINILM, PACKAGED, ModelSpec, fingerprint

DECIDES = {
    "weights_sha256": "0" * 64,
    "tokenizer_sha256": "0" * 64,
    "dimensions": 383,
    "window": 128,
    "pooling": "cls",
    "normalise": False,
    "prefix": "passage: ",
    "files_sha256": "0" * 64,
}
IN_THE_WEIGHTS = "dimensions"


@pytest.mark.parametrize("field", [f.name for f in fields(ModelSpec)])
def test_whatever_decides_a_vector_is_in_the_fingerprint_and_nothing_else(field):
    other = replace(MINILM, **{field: DECIDES.get(field, "other")})
    counts = field in DECIDES and field != IN_THE_WEIGHTS

    assert (fingerprint(other) != fingerprint(MINILM)) == counts


def test_int8_is_another_fingerprint_and_so_is_another_calibration():
    found = {
        fingerprint(MINILM),
        fingerprint(MINILM, "int8", "a"),
        fingerprint(MINILM, "int8", "b"),
    }

    assert len(found) == 3


def test_the_fingerprint_of_the_packaged_model_never_changes_by_accident():
    # another value makes every existing index a stranger: it must be a decision
    assert fingerprint(MINILM) == "3sclaw5msl55olyqs4wlojmllt"
    calibration = quantise.digest(quantise.packaged())
    assert fingerprint(MINILM, "int8", calibration) == "hs2ixfobzfydfpglj32nnqhqmq"


def test_the_packaged_model_is_known_by_its_hub_name_too():
    assert PACKAGED["sentence-transformers/all-MiniLM-L6-v2"] is PACKAGED["all-MiniLM-L6-v2"]
