"""Any sentence-transformers model, on CPU or GPU; torch is imported when one is loaded."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shared.domain.errors import ConfigurationError, EncoderBusy, ModelFailed
from shared.encoders.local import files
from shared.encoders.local.backend import Tokens, pack
from shared.encoders.models import ModelSpec, fingerprint

if TYPE_CHECKING:
    from shared.encoders.local.tokens import ModelTokenizer
    from shared.ports import Vectors

Device = Literal["auto", "cpu", "cuda"]


class SentenceTransformersEncoder:
    """Implements `shared.encoders.local.backend.Backend` in float32.

    Args:
        spec: of the folder, by `shared.encoders.local.files.inspect`.
        threads: CPU threads; 0 leaves their number to torch.

    Raises:
        ConfigurationError: no torch, no such device, or a folder that cannot be loaded.
    """

    def __init__(
        self, folder: Path, *, spec: ModelSpec, device: Device = "auto", threads: int = 0
    ) -> None:
        self._torch, library = _import()
        self.device = _choose(self._torch, device)
        if threads and self.device == "cpu":
            self._torch.set_num_threads(threads)
        self.fingerprint = fingerprint(spec)
        self.dimensions = spec.dimensions
        self.ahead = 1 if self.device == "cuda" else 0
        self._prefix = spec.prefix
        try:
            self._model = (
                library.SentenceTransformer(str(folder), device=self.device, local_files_only=True)
                .eval()
                .float()
            )
        except (OSError, ValueError, KeyError) as error:
            raise ConfigurationError(
                f"embedding.model: {folder.name} cannot be loaded: {type(error).__name__}"
            ) from error
        self._model.max_seq_length = spec.window
        self._folder, self._window = folder, spec.window
        self._pad = int(getattr(self._model.tokenizer, "pad_token_id", None) or 0)

    @cached_property
    def _tokenizer(self) -> "ModelTokenizer":
        """Where texts are tokenised elsewhere, none is loaded."""
        from shared.encoders.local.tokens import ModelTokenizer

        return ModelTokenizer(files.tokenizer_file(self._folder), window=self._window)

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        return self._tokenizer.encode([self._prefix + text for text in texts])

    def run(self, batch: Sequence[Tokens]) -> "Vectors":
        torch = self._torch
        ids, mask = pack(batch, pad=self._pad)
        try:
            with torch.inference_mode():
                features = {
                    "input_ids": torch.from_numpy(ids).to(self.device, torch.int64),
                    "attention_mask": torch.from_numpy(mask).to(self.device, torch.int64),
                }
                found = self._model(features)["sentence_embedding"]
                unit = torch.nn.functional.normalize(found.float(), dim=1)
                vectors: Vectors = unit.cpu().numpy().astype(np.float32, copy=False)
        except (MemoryError, torch.OutOfMemoryError):
            if self.device == "cuda":
                torch.cuda.empty_cache()
            raise EncoderBusy("no memory for a batch") from None
        except (RuntimeError, ValueError, IndexError) as error:
            raise ModelFailed(f"the model failed on a batch of {ids.shape} tokens") from error
        return vectors


def cuda_at_hand() -> bool:
    """Whether this machine has a GPU that torch can use. Imports torch only if a GPU is likely."""
    if not Path("/dev/nvidiactl").exists():
        return False
    try:
        torch, _ = _import()
    except ConfigurationError:
        return False
    return bool(torch.cuda.is_available())


def _import() -> tuple[Any, Any]:
    try:
        import sentence_transformers
        import torch
        from transformers.utils import logging
    except ImportError as error:
        raise ConfigurationError(
            f"this embedding.model needs sentence-transformers, which is not installed "
            f"({error.name}): pip install 'instep[torch]'"
        ) from None
    # it would write a bar between the lines of the log
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return torch, sentence_transformers


def _choose(torch: Any, device: Device) -> str:
    available = bool(torch.cuda.is_available())
    if device == "cuda" and not available:
        raise ConfigurationError("embedding.device is cuda, but torch finds no GPU: set it to auto")
    return "cuda" if device != "cpu" and available else "cpu"
