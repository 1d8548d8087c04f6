import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import ConfigurationError
from shared.encoders.local.backend import pack
from shared.encoders.local.tokens import ModelTokenizer, encodable

SURROGATES = st.text(st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010))


@given(SURROGATES | st.text())
def test_any_text_can_be_encoded_and_keeps_its_length(text):
    made = encodable(text)

    made.encode()
    assert len(made) == len(text)
    assert all(a == b or "\ud800" <= a <= "\udfff" for a, b in zip(text, made, strict=True))


def test_a_broken_tokenizer_file_is_named(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"version": "0"}))

    with pytest.raises(ConfigurationError, match=r"tokenizer\.json"):
        ModelTokenizer(path, window=8)


def test_a_batch_is_packed_with_its_mask():
    ids, mask = pack([[1, 2, 3], [4]], multiple=4, pad=9)

    assert ids.tolist() == [[1, 2, 3, 9], [4, 9, 9, 9]]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]
    assert ids.dtype == mask.dtype == "int32"
