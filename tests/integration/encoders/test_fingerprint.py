"""A small model of one's own: what its library reads is in the fingerprint, vectors prove it."""

import json
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from shared.encoders.registry import describe, load_backend
from shared.settings import Embedding

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(
        find_spec("sentence_transformers") is None and not os.environ.get("CI"),
        reason="sentence_transformers is not installed",
    ),
    pytest.mark.filterwarnings("ignore"),  # torch and transformers warn about themselves
]

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "some", "words", "of", "a", "text"]
TEXTS = ["Some words of a text", "a text", "words"]
DESCRIBING = {"README.md"}
"""The library puts it into the model card."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A BERT of two layers with a linear layer behind it, saved by the library."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(7)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(
        vocab_size=len(WORDS), num_hidden_layers=2, max_position_embeddings=32, **sizes
    )
    BertModel(config).save_pretrained(folder / "bert")
    vocabulary = {word: n for n, word in enumerate(WORDS)}
    BertTokenizerFast(vocab=vocabulary).save_pretrained(folder / "bert")
    modules = [Transformer(str(folder / "bert")), Pooling(16), Dense(16, 8)]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder / "saved"))
    return folder / "saved"


def settings(folder):
    return Embedding(model=str(folder), backend="sentence-transformers", device="cpu")


def vectors(folder):
    backend = load_backend(settings(folder))
    return backend.run(backend.tokenize(TEXTS))


@pytest.fixture(scope="module")
def original(model):
    """The vectors of the model as it was saved, and its fingerprint."""
    return vectors(model), describe(settings(model))[0]


@pytest.fixture
def edited(model, tmp_path):
    """Makes a copy of the model with one text in one file exchanged."""

    def make(name, old, new):
        folder = shutil.copytree(model, tmp_path / f"copy {len(list(tmp_path.iterdir()))}")
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))
        return folder

    return make


def test_every_file_that_the_library_opens_is_in_the_fingerprint(model, edited):
    opened, folder = set(), edited("config.json", "{", "{")

    def listen(event, args):
        if event == "open" and isinstance(args[0], str) and args[0].startswith(f"{folder}{os.sep}"):
            opened.add(str(Path(args[0]).relative_to(folder)))

    sys.addaudithook(listen)
    before = vectors(folder)
    fingerprint = describe(settings(folder))[0]

    assert {"config.json", "modules.json", "tokenizer_config.json"} <= opened
    assert fingerprint == describe(settings(model))[0]
    for name in opened - DESCRIBING:
        other = edited("config.json", "{", "{")
        with (other / name).open("ab") as file:
            file.write(b" ")
        assert describe(settings(other))[0] != fingerprint, name
    assert (vectors(model) == before).all()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("config.json", '"gelu"', '"relu"'),
        ("config.json", '"num_hidden_layers": 2', '"num_hidden_layers": 1'),
        ("config.json", '"layer_norm_eps": 1e-12', '"layer_norm_eps": 0.5'),
        ("config.json", '"is_decoder": false', '"is_decoder": true'),
        ("2_Dense/config.json", "Tanh", "ReLU"),
        ("1_Pooling/config.json", "mean", "cls"),
        ("tokenizer.json", '"lowercase": true', '"lowercase": false'),
        ("tokenizer.json", '"words": 6', '"words": 9'),
    ],
)
def test_another_configuration_makes_other_vectors_under_another_fingerprint(
    original, edited, name, old, new
):
    other = edited(name, old, new)
    if "lowercase" not in old:  # the texts are in lower case
        assert np.abs(vectors(other) - original[0]).max() > 1e-4
    assert describe(settings(other))[0] != original[1]


def test_a_default_prompt_makes_other_vectors_under_another_fingerprint(model, original, edited):
    name = "config_sentence_transformers.json"
    raw = json.loads((model / name).read_text())
    raw |= {"default_prompt_name": "document", "prompts": {"document": "some "}}
    other = edited(name, (model / name).read_text(), json.dumps(raw))

    assert np.abs(vectors(other) - original[0]).max() > 1e-4
    assert describe(settings(other))[0] != original[1]
