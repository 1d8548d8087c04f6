"""A generation: one build of the index, named by everything that decides its rows. Pure."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from shared.domain.ids import short_digest
from shared.settings import Chunking

CHUNKER: Final = 1
"""Grows when the same text and settings would be cut, or embedded, otherwise."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The settings that decide rows and vectors."""

    model: str
    numeric: str
    fingerprint: str
    """Names the vectors."""
    dimensions: int
    chunking: Chunking
    chunker: int = CHUNKER
    encoder: str = ""
    """The encoder's fingerprint, where an older release gave the vectors another name."""

    @property
    def encoder_fingerprint(self) -> str:
        """Of the encoder that makes the vectors."""
        return self.encoder or self.fingerprint

    @property
    def id(self) -> str:
        """A subject token and part of bucket and table names, e.g. `g3k7m2qxa`."""
        # what they decide is in the fingerprint
        named = {"model", "numeric", "encoder"}
        parts = {name: value for name, value in self.as_dict().items() if name not in named}
        return "g" + short_digest(json.dumps(parts, sort_keys=True))

    def as_dict(self) -> dict[str, Any]:
        found = asdict(self) | {"chunking": self.chunking.model_dump()}
        if not self.encoder:  # so that the release before reads it
            del found["encoder"]
        return found

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "Generation":
        return cls(**{**raw, "chunking": Chunking(**raw["chunking"])})


def differences(live: Generation, wanted: Generation) -> list[str]:
    """Settings that differ from the live generation, e.g. `embedding.numeric is …`."""
    pairs: list[tuple[str, object, object]] = [
        (f"chunking.{name}", getattr(live.chunking, name), getattr(wanted.chunking, name))
        for name in type(live.chunking).model_fields
    ]
    same_vectors = live.encoder_fingerprint == wanted.encoder_fingerprint
    if not same_vectors:  # else they are other names of the same vectors
        pairs = [
            ("embedding.model", live.model, wanted.model),
            ("embedding.numeric", live.numeric, wanted.numeric),
            *pairs,
        ]
    found = [
        f"{name} is {new}, the index was built with {old}" for name, old, new in pairs if old != new
    ]
    if not found and not same_vectors:
        found.append(f"the files of {live.model} have changed")
    if not found and live.chunker != wanted.chunker:
        found.append("this version of instep cuts text otherwise")
    return found
