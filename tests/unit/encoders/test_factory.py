from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from shared.encoders.factory import describe, load_encoder, load_tokenizer
from shared.encoders.models import MINILM, fingerprint
from shared.errors import ConfigurationError, EncoderBusy
from shared.settings import Embedding


def test_the_packaged_model_is_described_without_looking_at_its_files(monkeypatch):
    monkeypatch.setattr("shared.encoders.files.packaged_folder", None)

    assert describe(Embedding()) == (fingerprint(MINILM), 384)
    assert describe(Embedding(model="sentence-transformers/all-MiniLM-L6-v2")) == describe(
        Embedding()
    )


def test_int8_is_described_as_another_kind_of_vector(monkeypatch):
    monkeypatch.setattr("shared.encoders.files.packaged_folder", None)

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
    monkeypatch.setattr("shared.encoders.files.inspect", lambda _: other)
    settings = {"model": str(Path(__file__).parent)}

    assert describe(Embedding(**settings))[0] == fingerprint(other)
    with pytest.raises(ConfigurationError, match="openvino"):
        describe(Embedding(**settings, **change))


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
