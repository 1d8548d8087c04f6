import json

import pytest

from shared.encoders import files
from shared.encoders.models import fingerprint
from shared.errors import ConfigurationError, ModelMismatch

MODULES = [
    {"path": "", "type": "sentence_transformers.models.Transformer"},
    {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]
DENSE = {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "some-model"
    folder.mkdir()
    write(folder / "modules.json", MODULES)
    write(folder / "sentence_bert_config.json", {"max_seq_length": 384})
    write(folder / "config.json", {"max_position_embeddings": 514})
    pooling = {"word_embedding_dimension": 768, "pooling_mode_cls_token": True}
    write(folder / "1_Pooling" / "config.json", pooling)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_a_folder_says_what_decides_its_vectors(model):
    spec = files.inspect(model)

    assert (spec.name, spec.dimensions, spec.window) == ("some-model", 768, 384)
    assert (spec.pooling, spec.prefix, spec.normalise) == ("cls", "", True)
    assert spec.weights_sha256 == files.file_digest(model / "model.safetensors")


def test_the_newer_way_of_writing_the_pooling_is_understood(model):
    newer = {"embedding_dimension": 768, "pooling_mode": "cls"}
    before = files.inspect(model)
    write(model / "1_Pooling" / "config.json", newer)

    assert files.inspect(model) == before


def test_a_default_prompt_goes_before_every_text(model):
    prompts = {"prompts": {"query": "q: ", "document": "d: "}, "default_prompt_name": "document"}
    write(model / "config_sentence_transformers.json", prompts)

    assert files.inspect(model).prefix == "d: "


def test_the_weights_of_every_module_count(model):
    before = fingerprint(files.inspect(model))
    write(model / "modules.json", [*MODULES, DENSE])
    write(model / "2_Dense" / "config.json", {"in_features": 768, "out_features": 256})
    (model / "2_Dense" / "model.safetensors").write_bytes(b"more")
    with_dense = files.inspect(model)
    (model / "2_Dense" / "model.safetensors").write_bytes(b"else")

    assert with_dense.dimensions == 256
    assert len({before, fingerprint(with_dense), fingerprint(files.inspect(model))}) == 3


def test_changed_weights_are_another_fingerprint(model):
    before = fingerprint(files.inspect(model))
    (model / "model.safetensors").write_bytes(b"trained further")

    assert fingerprint(files.inspect(model)) != before


def test_without_a_length_of_its_own_the_window_is_what_the_model_has_positions_for(model):
    (model / "sentence_bert_config.json").unlink()

    assert files.inspect(model).window == 514


@pytest.mark.parametrize(
    "missing", ["modules.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json"]
)
def test_a_folder_that_lacks_something_is_refused_by_name(model, missing):
    (model / missing).unlink()

    with pytest.raises(ConfigurationError, match=r"embedding\.model"):
        files.inspect(model)


def test_another_file_than_the_one_meant_is_refused(model):
    with pytest.raises(ModelMismatch, match=r"tokenizer\.json"):
        files.verify(model / "tokenizer.json", "0" * 64)
