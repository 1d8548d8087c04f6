"""all-MiniLM-L6-v2 on the CPU by OpenVINO; torch is not needed."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

# isort: off
import shared.encoders.local.minilm.silence  # noqa: F401 - before openvino
import openvino as ov

# isort: on
from safetensors import SafetensorError
from safetensors.numpy import load_file

from shared.domain.errors import EncoderBusy, ModelFailed, ModelMismatch
from shared.encoders.local import cpu, files
from shared.encoders.local.backend import Tokens, pack
from shared.encoders.local.minilm import bert, quantise
from shared.encoders.models import MINILM, ModelSpec, Numeric, fingerprint

if TYPE_CHECKING:
    from shared.encoders.local.tokens import ModelTokenizer
    from shared.ports import Vectors

SHAPES_KEPT: Final = 32
"""Shapes of batches whose compiled calls of each kind stay. One takes 0.85 MB, and there are
thousands; OpenVINO's own number is 5,000. With none, a call of a few short texts takes half as long
again; with so few, no longer."""
_WARM_UP: Final = (101, 2034, 2655, 102)
"""The first call takes 60 ms more than the others."""
_OUT_OF_MEMORY: Final = ("alloc", "out of memory", "not enough memory")


class OpenVinoEncoder:
    """Implements `shared.encoders.local.backend.Backend`. Loading takes about half a second.

    Args:
        folder: with `model.safetensors` and `tokenizer.json`.
        threads: 0 leaves their number to OpenVINO (one per physical core it may use).
        calibration: the file that int8 needs.

    Raises:
        ModelMismatch: the weights or the tokenizer are not those of the spec.
        ConfigurationError: int8 on a CPU that would make other vectors.
    """

    ahead = 0

    def __init__(
        self,
        folder: Path,
        *,
        spec: ModelSpec = MINILM,
        numeric: Numeric = "f32",
        threads: int = 0,
        calibration: bytes | None = None,
    ) -> None:
        if numeric == "int8":
            cpu.require_int8(cpu.flags())
            calibration = quantise.packaged() if calibration is None else calibration
        self.fingerprint = fingerprint(
            spec, numeric, quantise.digest(calibration) if calibration else ""
        )
        self.dimensions = spec.dimensions
        self._prefix = spec.prefix
        files.verify(folder / files.TOKENIZER, spec.tokenizer_sha256)
        files.verify(folder / files.WEIGHTS, spec.weights_sha256)
        self._folder, self._window = folder, spec.window
        graph = _graph(folder / files.WEIGHTS, calibration if numeric == "int8" else None)
        self.compiled = ov.Core().compile_model(graph, "CPU", _settings(threads))
        self._request: Any = self.compiled.create_infer_request()
        self.run([_WARM_UP])

    @cached_property
    def _tokenizer(self) -> "ModelTokenizer":
        """Where texts are tokenised elsewhere, none is loaded."""
        from shared.encoders.local.tokens import ModelTokenizer

        return ModelTokenizer(self._folder / files.TOKENIZER, window=self._window)

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        return self._tokenizer.encode([self._prefix + text for text in texts])

    def run(self, batch: Sequence[Tokens]) -> "Vectors":
        ids, mask = pack(batch)
        try:
            self._request.infer([ids, mask], share_inputs=True)
        except MemoryError:
            raise EncoderBusy("no memory for a batch") from None
        except RuntimeError as error:
            if any(sign in str(error).lower() for sign in _OUT_OF_MEMORY):
                raise EncoderBusy("no memory for a batch") from None
            raise ModelFailed(f"OpenVINO failed on a batch of {ids.shape} tokens") from error
        vectors: Vectors = self._request.get_output_tensor(0).data.copy()
        return vectors


def _graph(path: Path, calibration: bytes | None) -> ov.Model:
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelMismatch(f"{path.name} cannot be read: {error}") from None
    quantised = {}
    for place, found in (quantise.load(calibration) if calibration else {}).items():
        matrix = bert.stacked(weights, place)
        quantised[place] = quantise.quantise(matrix, found)
    return bert.BertGraph(weights, bert.Shape(), quantised).build()


def _settings(threads: int) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        # without it a CPU with avx512_bf16 or AMX computes in bfloat16, unasked
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
        "CPU_RUNTIME_CACHE_CAPACITY": SHAPES_KEPT,
    }
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    return settings
