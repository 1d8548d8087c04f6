"""Models by their settings: the description (cheap), the tokenizer, and the loaded encoder."""

import asyncio
import re
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from shared.domain.errors import ConfigurationError, ModelMismatch
from shared.encoders import fake
from shared.encoders.fake import FakeEncoder, FakeTokenizer, FaultyEncoder
from shared.encoders.local import files
from shared.encoders.local.backend import Backend, Tokens
from shared.encoders.local.minilm import quantise
from shared.encoders.models import MINILM, PACKAGED, ModelSpec, fingerprint

if TYPE_CHECKING:  # the process that runs the model imports no more than it needs
    from shared.encoders.coalesce import CoalescingEncoder
    from shared.ports import TokenCounter
    from shared.settings import Embedding

_FAKE: Final = re.compile(r"fake-([1-9]\d{0,4})(?:-faults|-(\d{1,5})ms)?")


def describe(settings: "Embedding") -> tuple[str, int]:
    """Fingerprint and dimensions of the vectors that these settings would make.

    At once for the packaged model and for fakes; another model's files are read once for their
    digest (0.1 s for 100 MB), and downloaded first where they are not on this machine.

    Raises:
        ConfigurationError: no such model, or one that these settings cannot load.
    """
    if dimensions := _fake(settings):
        return fake.fingerprint(dimensions), dimensions
    spec = _spec(settings)
    _check(settings, spec)
    artefact = quantise.digest(quantise.packaged()) if settings.numeric == "int8" else ""
    return fingerprint(spec, settings.numeric, artefact), spec.dimensions


def formerly(settings: "Embedding") -> str:
    """The fingerprint that instep 0.1.0 gave to the vectors of these files; empty where it is
    today's, or where it was that of the packaged model as well.

    It left out the configuration of the model. Raises as `describe`.
    """
    if _fake(settings):
        return ""
    found = fingerprint(replace(_spec(settings), files_sha256=""))
    return "" if found == fingerprint(MINILM) else found


def languages(settings: "Embedding") -> tuple[str, ...]:
    """ISO 639-1 codes of the languages that the model knows; empty: it may know any."""
    if settings.languages is not None:
        return settings.languages
    return PACKAGED[settings.model].languages if settings.model in PACKAGED else ()


def load_tokenizer(settings: "Embedding") -> "TokenCounter":
    """The model's tokenizer, without the model; takes less than 50 ms for the packaged one."""
    if _fake(settings):
        return FakeTokenizer()
    from shared.encoders.local.tokens import ModelTokenizer

    tokenizer = files.tokenizer_file(_folder(settings))
    return ModelTokenizer(tokenizer, window=_spec(settings).window)


async def load_encoder(settings: "Embedding", stack: AsyncExitStack) -> "CoalescingEncoder":
    """The model, ready to serve many callers; `stack` closes it.

    It runs in a process of its own. Raises as `describe`, and:

    Raises:
        ConfigurationError: int8 on a CPU without avx512_vnni.
        ModelMismatch: the weights are not those that the fingerprint stands for.
        EncoderBusy: no process starts.
    """
    from shared.encoders.coalesce import CoalescingEncoder
    from shared.encoders.local.process import ProcessDevice

    tokenize = await asyncio.to_thread(_tokenize, settings)
    device = await ProcessDevice.start(settings, tokenize)
    encoder = CoalescingEncoder(
        device,
        max_tokens=settings.max_tokens,
        max_items=settings.max_batch,
        timeout_s=settings.timeout,
    )
    return await stack.enter_async_context(encoder)


def _tokenize(settings: "Embedding") -> Callable[[Sequence[str]], list[Tokens]]:
    """The token ids of texts, without the model."""
    if dimensions := _fake(settings):
        return FakeEncoder(dimensions).tokenize
    from shared.encoders.local.tokens import ModelTokenizer

    spec = _spec(settings)
    tokenizer = ModelTokenizer(files.tokenizer_file(_folder(settings)), window=spec.window)
    return lambda texts: tokenizer.encode([spec.prefix + text for text in texts])


def load_backend(settings: "Embedding") -> Backend:
    """The bare model; takes half a second for the packaged one. Raises as `load_encoder`."""
    describe(settings)
    if dimensions := _fake(settings):
        faulty = settings.model.endswith("-faults")
        device_s = _device_s(settings)
        return FaultyEncoder(dimensions) if faulty else FakeEncoder(dimensions, device_s=device_s)
    if _backend(settings) == "openvino":
        return _openvino(settings)
    from shared.encoders.local.sentence_transformers import SentenceTransformersEncoder

    folder, spec = _folder(settings), _spec(settings)
    if spec is MINILM and files.inspect(folder) is not MINILM:
        raise ModelMismatch(f"the files of {MINILM.name} were changed: install its package again")
    return SentenceTransformersEncoder(
        folder, spec=spec, device=settings.device, threads=settings.threads
    )


def _openvino(settings: "Embedding") -> Backend:
    try:
        from shared.encoders.local.minilm.openvino import OpenVinoEncoder
    except ImportError as error:
        raise ConfigurationError(
            f"{MINILM.name} needs {error.name}, which is not installed: "
            "pip install 'instep[openvino]'"
        ) from None
    return OpenVinoEncoder(_folder(settings), numeric=settings.numeric, threads=settings.threads)


def _fake(settings: "Embedding") -> int:
    """Dimensions of the fake that the settings name, or 0."""
    match = _FAKE.fullmatch(settings.model)
    return int(match[1]) if match else 0


def _device_s(settings: "Embedding") -> float:
    """Seconds that a call of the fake's simulated device takes."""
    match = _FAKE.fullmatch(settings.model)
    return int(match[2] or 0) / 1000 if match else 0.0


def _spec(settings: "Embedding") -> ModelSpec:
    if settings.model in PACKAGED:
        return PACKAGED[settings.model]
    return files.inspect(_folder(settings))


def _folder(settings: "Embedding") -> Path:
    if settings.model in PACKAGED:
        return files.packaged_folder()
    folder = Path(settings.model)
    return folder if folder.is_dir() else files.downloaded(settings.model)


def _check(settings: "Embedding", spec: ModelSpec) -> None:
    """Raise ConfigurationError for settings that exclude each other."""
    if settings.backend == "openvino" and (spec is not MINILM or settings.device == "cuda"):
        raise ConfigurationError(
            f"embedding.backend is openvino, which runs {MINILM.name} on a CPU only; set it to auto"
        )
    elsewhere = settings.backend == "sentence-transformers" or settings.device == "cuda"
    if settings.numeric == "int8" and (spec is not MINILM or elsewhere):
        raise ConfigurationError(
            f"embedding.numeric is int8, which is only for {MINILM.name} on openvino; set it to f32"
        )


def _backend(settings: "Embedding") -> Literal["openvino", "sentence-transformers"]:
    """auto: openvino for the packaged model on a CPU, else sentence-transformers."""
    if settings.backend != "auto":
        return settings.backend
    if _spec(settings) is not MINILM or settings.device == "cuda":
        return "sentence-transformers"
    if settings.numeric == "int8" or settings.device == "cpu":
        return "openvino"
    from shared.encoders.local.sentence_transformers import cuda_at_hand

    return "sentence-transformers" if cuda_at_hand() else "openvino"
