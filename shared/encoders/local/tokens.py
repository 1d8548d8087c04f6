"""The model's own tokenizer: to cut text by tokens, and to feed the model."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from tokenizers import Tokenizer

from shared.domain.errors import ConfigurationError
from shared.encoders.local.backend import Tokens, encodable


class ModelTokenizer:
    """Implements `shared.ports.TokenCounter` on a `tokenizer.json`.

    The file's own truncation and padding (128 tokens for MiniLM) are overruled.

    Args:
        window: tokens that the model reads, special tokens included.
    """

    def __init__(self, path: Path, *, window: int) -> None:
        self._path, self._cut_at = path, window
        self._counting = _load(path)
        self._counting.no_truncation()
        self.window = window - self._counting.num_special_tokens_to_add(is_pair=False)

    @cached_property
    def _encoding(self) -> Tokenizer:
        tokenizer = _load(self._path)
        tokenizer.enable_truncation(self._cut_at)
        return tokenizer

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        offsets: list[tuple[int, int]] = self._counting.encode(
            encodable(text), add_special_tokens=False
        ).offsets
        return offsets

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        found = self._counting.encode_batch_fast(
            [encodable(text) for text in texts], add_special_tokens=False
        )
        return [len(encoding) for encoding in found]

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """The token ids of each text: special tokens included, cut to the window."""
        found = self._encoding.encode_batch_fast([encodable(text) for text in texts])
        return [encoding.ids for encoding in found]


def _load(path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises no narrower one
        raise ConfigurationError(f"{path.name} of the model cannot be read: {error}") from None
    tokenizer.no_padding()
    return tokenizer
