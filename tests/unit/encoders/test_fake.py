from shared.encoders.fake import FakeEncoder, FakeTokenizer


async def test_texts_that_share_words_have_like_vectors():
    cat, kitten, tax = await FakeEncoder(256).encode(
        ["the cat sat on the mat", "the cat lay on the mat", "income tax return of 2024"]
    )

    assert cat @ kitten > 0.8
    assert abs(cat @ tax) < 0.4


async def test_the_fake_counts_what_it_encodes():
    fake = FakeEncoder(8)
    await fake.encode(["a", "b"])
    await fake.encode(["c", "d"], alone=True)

    assert fake.texts_encoded == 4
    assert fake.batches == [2, 1, 1]


def test_fakes_of_another_dimension_have_another_fingerprint():
    assert FakeEncoder(8).fingerprint == FakeEncoder(8).fingerprint
    assert FakeEncoder(8).fingerprint != FakeEncoder(1536).fingerprint


def test_the_fake_tokenizer_gives_the_place_of_every_word():
    text = "One, two."
    spans = FakeTokenizer().offsets(text)

    assert [text[a:b] for a, b in spans] == ["One", ",", "two", "."]
    assert FakeTokenizer().count([text, ""]) == [4, 0]
