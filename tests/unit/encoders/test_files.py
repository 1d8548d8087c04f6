import json
import os
import shutil
from dataclasses import replace

import pytest

from shared.domain.errors import ConfigurationError, ModelMismatch
from shared.encoders.local import files
from shared.encoders.models import fingerprint

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

    assert replace(files.inspect(model), files_sha256=before.files_sha256) == before


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


DECIDING = {
    "model.safetensors",
    "tokenizer.json",
    "modules.json",
    "config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "modeling_own.py",
    "1_Pooling/config.json",
    "2_Router/router_config.json",
    "2_Router/query_0_Dense/model.safetensors",
    "2_Router/query_0_Dense/config.json",
    "3_Dense/pytorch_model.bin",
    "3_Dense/config.json",
}
OTHERS = {
    "README.md",
    "LICENSE",
    ".gitattributes",
    "curve.png",
    "scores.csv",
    "pytorch_model.bin",
    "training_args.bin",
    "onnx/config.json",
    "onnx/model.onnx",
    "checkpoint-500/model.safetensors",
}


@pytest.fixture
def large(model):
    """The model with every kind of file that such a folder may hold."""
    more = ["2_Router", "3_Dense"]
    modules = [{"path": name, "type": f"sentence_transformers.models.{name[2:]}"} for name in more]
    write(model / "modules.json", [*MODULES, *modules])
    for name in sorted(DECIDING | OTHERS):
        if not (model / name).exists():
            (model / name).parent.mkdir(parents=True, exist_ok=True)
            (model / name).write_text("{}")
    return model


def print_of(folder):
    return fingerprint(files.inspect(folder))


@pytest.mark.parametrize("name", sorted(DECIDING))
def test_one_byte_of_a_file_that_decides_vectors_is_another_fingerprint(large, tmp_path, name):
    before = print_of(large)
    other = shutil.copytree(large, tmp_path / "other")
    same = print_of(other)
    data = (other / name).read_bytes()
    (other / name).write_bytes(data + b" ")  # JSON is JSON with it

    assert same == before
    assert print_of(other) != before


@pytest.mark.parametrize("name", sorted(DECIDING - {"modules.json", "tokenizer.json"}))
def test_a_file_that_decides_vectors_and_has_another_name_is_another_fingerprint(
    large, tmp_path, name
):
    other = shutil.copytree(large, tmp_path / "other")
    place = other / name
    place.rename(place.with_name(f"a{place.name}"))
    try:
        found = print_of(other)
    except ConfigurationError:
        found = ""  # it lacks something

    assert found != print_of(large)


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_other_files_do_not_count(large, name):
    before = print_of(large)
    (large / name).write_text("another text")
    changed = print_of(large)
    (large / name).unlink()

    assert print_of(large) == changed == before


def test_where_a_model_lies_and_how_old_it_is_do_not_count(large, tmp_path):
    before = print_of(large)
    elsewhere = tmp_path / "deep" / "elsewhere"
    shutil.copytree(large, elsewhere)
    for path in elsewhere.rglob("*"):
        os.utime(path, (1, 1))
    linked = tmp_path / "linked"  # as the hub's cache does it
    for name in sorted(DECIDING | OTHERS, reverse=True):
        (linked / name).parent.mkdir(parents=True, exist_ok=True)
        (linked / name).symlink_to(large / name)

    assert print_of(elsewhere) == print_of(linked) == before


def test_a_file_that_changes_and_keeps_its_size_and_time_is_read_again(model):
    path = model / "model.safetensors"
    before, stat = files.file_digest(path), path.stat()
    (model / "new").write_bytes(b"STHGIEW")
    os.utime(model / "new", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (model / "new").replace(path)

    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert files.file_digest(path) != before


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
