"""A generation: one build of the index, named by everything that decides its rows. Pure."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from shared.identity import short_digest
from shared.settings import Chunking

CHUNKER: Final = 1
"""Grows when the same text and settings would be cut, or embedded, otherwise."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What decides rows and vectors. `fingerprint` is the encoder's."""

    model: str
    numeric: str
    fingerprint: str
    dimensions: int
    chunking: Chunking
    chunker: int = CHUNKER

    @property
    def id(self) -> str:
        """A subject token and part of bucket and table names, e.g. `g3k7m2qxa`."""
        named = {"model", "numeric"}  # what they decide is in the fingerprint
        parts = {name: value for name, value in self.as_dict().items() if name not in named}
        return "g" + short_digest(json.dumps(parts, sort_keys=True))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"chunking": self.chunking.model_dump()}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "Generation":
        return cls(**{**raw, "chunking": Chunking(**raw["chunking"])})


def differences(live: Generation, wanted: Generation) -> list[str]:
    """What the settings ask for that the live generation is not, e.g. `embedding.numeric is …`."""
    pairs: list[tuple[str, object, object]] = [
        (f"chunking.{name}", getattr(live.chunking, name), getattr(wanted.chunking, name))
        for name in type(live.chunking).model_fields
    ]
    if live.fingerprint != wanted.fingerprint:  # else they are other names of the same vectors
        pairs = [
            ("embedding.model", live.model, wanted.model),
            ("embedding.numeric", live.numeric, wanted.numeric),
            *pairs,
        ]
    found = [
        f"{name} is {new}, the index was built with {old}" for name, old, new in pairs if old != new
    ]
    if not found and live.fingerprint != wanted.fingerprint:
        found.append(f"the weights or tokenizer of {live.model} have changed")
    if not found and live.chunker != wanted.chunker:
        found.append("this version of instep cuts text otherwise")
    return found
