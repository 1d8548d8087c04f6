import os
import signal
import subprocess
import sys

import pytest

from shared.domain.errors import EncoderBusy, ModelFailed
from shared.encoders.fake import FakeEncoder, FakeTokenizer, FaultyEncoder


async def test_texts_that_share_words_have_like_vectors():
    cat, kitten, tax = await FakeEncoder(256).encode(
        ["the cat sat on the mat", "the cat lay on the mat", "income tax return of 2024"]
    )

    assert cat @ kitten > 0.8
    assert abs(cat @ tax) < 0.4


async def test_the_fake_counts_what_it_encodes():
    fake = FakeEncoder(8)
    await fake.encode(["a", "b"])
    await fake.encode(["c"])

    assert fake.texts_encoded == 3
    assert fake.batches == [2, 1]


def test_fakes_of_another_dimension_have_another_fingerprint():
    assert FakeEncoder(8).fingerprint == FakeEncoder(8).fingerprint
    assert FakeEncoder(8).fingerprint != FakeEncoder(1536).fingerprint


def test_the_fake_tokenizer_gives_the_place_of_every_word():
    text = "One, two."
    spans = FakeTokenizer().offsets(text)

    assert [text[a:b] for a, b in spans] == ["One", ",", "two", "."]
    assert FakeTokenizer().count([text, ""]) == [4, 0]


async def test_the_faulty_fake_makes_the_vectors_of_the_fake():
    texts = ["the cat", "the default hang of a kill"]

    assert ((await FaultyEncoder(8).encode(texts)) == (await FakeEncoder(8).encode(texts))).all()


@pytest.mark.parametrize(
    ("word", "error"),
    [("faultrefuse", ModelFailed), ("faultbusy", EncoderBusy), ("FAULTMEMORY", MemoryError)],
)
async def test_the_faulty_fake_fails_as_a_text_asks(word, error):
    with pytest.raises(error):
        await FaultyEncoder(8).encode([f"some {word} text"])


async def test_the_faulty_fake_is_busy_as_often_as_asked():
    fake = FaultyEncoder(8)
    for _ in range(2):
        with pytest.raises(EncoderBusy):
            await fake.encode(["a faultbusy2 text"])

    assert (await fake.encode(["a faultbusy2 text"])).shape == (1, 8)


@pytest.mark.parametrize(
    ("word", "by"), [("faultkill", signal.SIGKILL), ("faultsegv", signal.SIGSEGV)]
)
def test_the_faulty_fake_kills_its_process(word, by):
    code = (
        "from shared.encoders.fake import FaultyEncoder as F\n"
        f"f = F(8)\nf.run(f.tokenize(['a {word} text']))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, check=False)

    assert done.returncode == -by
