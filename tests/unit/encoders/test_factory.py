import json
import os
import shutil
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from shared.domain.errors import ConfigurationError, EncoderBusy, ModelMismatch
from shared.encoders.local import files
from shared.encoders.models import MINILM, fingerprint
from shared.encoders.registry import describe, formerly, load_backend, load_encoder, load_tokenizer
from shared.settings import Embedding


def test_the_packaged_model_is_described_without_looking_at_its_files(monkeypatch):
    monkeypatch.setattr("shared.encoders.local.files.packaged_folder", None)

    assert describe(Embedding()) == (fingerprint(MINILM), 384)
    assert describe(Embedding(model="sentence-transformers/all-MiniLM-L6-v2")) == describe(
        Embedding()
    )


def test_int8_is_described_as_another_kind_of_vector(monkeypatch):
    monkeypatch.setattr("shared.encoders.local.files.packaged_folder", None)

    assert describe(Embedding(numeric="int8"))[0] != describe(Embedding())[0]


@pytest.mark.parametrize(
    "change", [{"device": "cpu"}, {"threads": 1}, {"max_batch": 1}, {"max_tokens": 512}], ids=str
)
def test_how_it_is_computed_does_not_change_the_fingerprint(change):
    assert describe(Embedding(**change)) == describe(Embedding())


@pytest.mark.parametrize("change", [{"backend": "sentence-transformers"}, {"device": "cuda"}])
def test_int8_is_for_openvino_only(change):
    with pytest.raises(ConfigurationError, match="int8"):
        describe(Embedding(numeric="int8", **change))


@pytest.mark.parametrize("change", [{"backend": "openvino"}, {"numeric": "int8"}], ids=str)
def test_another_model_is_not_for_openvino(monkeypatch, change):
    other = replace(MINILM, name="other", weights_sha256="0" * 64)
    monkeypatch.setattr("shared.encoders.local.files.inspect", lambda _: other)
    settings = {"model": str(Path(__file__).parent)}

    assert describe(Embedding(**settings))[0] == fingerprint(other)
    with pytest.raises(ConfigurationError, match="openvino"):
        describe(Embedding(**settings, **change))


@pytest.mark.parametrize(
    ("settings", "gpu", "chosen"),
    [
        ({}, False, "OpenVinoEncoder"),
        ({}, True, "SentenceTransformersEncoder"),
        ({"device": "cpu"}, True, "OpenVinoEncoder"),
        ({"device": "cuda"}, False, "SentenceTransformersEncoder"),
        ({"numeric": "int8"}, False, "OpenVinoEncoder"),
        ({"numeric": "int8"}, True, "OpenVinoEncoder"),
        ({"backend": "openvino"}, True, "OpenVinoEncoder"),
        ({"backend": "sentence-transformers"}, False, "SentenceTransformersEncoder"),
    ],
    ids=str,
)
@pytest.mark.model
def test_the_packaged_model_runs_where_the_settings_and_the_machine_allow(
    monkeypatch, settings, gpu, chosen
):
    made = []
    encoders = (
        "minilm.openvino.OpenVinoEncoder",
        "sentence_transformers.SentenceTransformersEncoder",
    )
    for name in encoders:
        kind = name.rsplit(".", 1)[-1]
        monkeypatch.setattr(
            f"shared.encoders.local.{name}",
            lambda *args, kind=kind, **how: made.append((kind, how)),
        )
    monkeypatch.setattr("shared.encoders.local.sentence_transformers.cuda_at_hand", lambda: gpu)
    load_backend(Embedding(**settings))

    assert [kind for kind, _ in made] == [chosen]
    if chosen == "OpenVinoEncoder":
        assert made[0][1]["numeric"] == settings.get("numeric", "f32")


@pytest.fixture
def local(tmp_path):
    """A model folder; what its files hold is enough for a fingerprint."""
    folder = tmp_path / "some-model"
    (folder / "1_Pooling").mkdir(parents=True)
    modules = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    pooling = {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True}
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 64}))
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_the_fingerprint_of_the_release_before_is_known_for_the_same_files(local):
    settings = Embedding(model=str(local))
    before = describe(settings)[0]
    (local / "config.json").write_text(json.dumps({"max_position_embeddings": 64, "n": 1}))

    # as 0.1.0 computed it: another value here, and its indexes are built anew
    assert formerly(settings) == "p3an25mnf2c5peaxjus4n7ntyf"
    assert len({describe(settings)[0], before, formerly(settings)}) == 3


def test_the_packaged_model_and_fakes_are_called_as_ever(monkeypatch):
    monkeypatch.setattr("shared.encoders.local.files.packaged_folder", None)

    assert formerly(Embedding()) == formerly(Embedding(model="fake-8")) == ""
    assert formerly(Embedding(numeric="int8")) == ""


@pytest.fixture
def copied(tmp_path):
    """Makes a copy of the packaged model with one file changed."""

    def make(name, old, new):
        folder = tmp_path / "minilm"
        shutil.copytree(files.packaged_folder(), folder, copy_function=os.symlink)
        text = (folder / name).read_text()
        assert old in text
        (folder / name).unlink()
        (folder / name).write_text(text.replace(old, new))
        return folder

    return make


@pytest.mark.model
@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("config.json", '"gelu"', '"relu"'),
        ("config.json", "1e-12", "1e-5"),
        ("config.json", '"num_hidden_layers": 6', '"num_hidden_layers": 5'),
        ("modules.json", "models.Normalize", "models.Dropout"),
        ("sentence_bert_config.json", '"do_lower_case": false', '"do_lower_case": true'),
        ("sentence_bert_config.json", "256", "128"),
        (
            "1_Pooling/config.json",
            '"pooling_mode_max_tokens": false',
            '"pooling_mode_max_tokens": true',
        ),
        (
            "config_sentence_transformers.json",
            "{",
            '{"default_prompt_name": "d", "prompts": {"d": "d: "},',
        ),
    ],
    ids=str,
)
def test_the_packaged_model_with_another_configuration_is_another_model(
    copied, monkeypatch, name, old, new
):
    folder = copied(name, old, new)
    found = describe(Embedding(model=str(folder)))[0]

    assert found != fingerprint(MINILM)
    # an index under the packaged model's name may hold its vectors
    assert formerly(Embedding(model=str(folder))) != fingerprint(MINILM)
    with pytest.raises(ConfigurationError, match="openvino"):
        describe(Embedding(model=str(folder), backend="openvino"))
    monkeypatch.setattr("shared.encoders.local.files.packaged_folder", lambda: folder)
    with pytest.raises(ModelMismatch, match="were changed"):
        load_backend(Embedding(backend="sentence-transformers", device="cpu"))


@pytest.mark.model
@pytest.mark.parametrize("name", ["README.md", "vocab.txt", "data_config.json"])
def test_a_copy_of_the_packaged_model_is_known_whatever_lies_beside_it(copied, name):
    assert describe(Embedding(model=str(copied(name, "a", "b"))))[0] == fingerprint(MINILM)


async def test_a_fake_of_any_dimension_is_loaded_by_name():
    settings = Embedding(model="fake-1536")
    async with AsyncExitStack() as stack:
        encoder = await load_encoder(settings, stack)
        vectors = await encoder.encode(["text"])

    assert vectors.shape == (1, 1536)
    assert describe(settings) == (encoder.fingerprint, encoder.dimensions)
    assert load_tokenizer(settings).count(["two words"]) == [2]


async def test_a_simulated_device_is_named_by_the_time_of_a_call():
    slow, fast = Embedding(model="fake-8-30ms"), Embedding(model="fake-8")
    async with AsyncExitStack() as stack:
        encoder = await load_encoder(slow, stack)
        again = await load_encoder(fast, stack)
        vectors, same = await encoder.encode(["text"]), await again.encode(["text"])

    assert describe(slow) == describe(fast)
    assert (vectors == same).all()
    assert encoder.counters.busy_s >= 0.03


async def test_the_stack_closes_the_encoder():
    async with AsyncExitStack() as stack:
        encoder = await load_encoder(Embedding(model="fake-8"), stack)

    with pytest.raises(EncoderBusy):
        await encoder.encode(["late"])
