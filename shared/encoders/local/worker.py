"""The process that runs the model, one batch after the other.

It can be killed at any time: the parent keeps the texts of the call and asks another process. It
imports no more than the model needs.
"""

import time
from typing import TYPE_CHECKING, Any, cast

from shared.encoders.local import protocol
from shared.encoders.local.protocol import Greeting
from shared.encoders.registry import load_backend
from shared.sandbox.inside import confine, hear, pipes, say

if TYPE_CHECKING:
    from shared.encoders.local.backend import Backend
    from shared.settings import Embedding


class ModelSettings:
    """The settings of the model that loading reads."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.__dict__.update(told)


def main(settings: dict[str, Any]) -> None:
    """Answer questions until standard input ends.

    Args:
        settings: `shared.settings.Embedding` as JSON has it.
    """
    with pipes() as (questions, answers):
        confine({})
        try:
            backend = load_backend(cast("Embedding", ModelSettings(settings)))
        except Exception as error:  # noqa: BLE001 - the outermost frame: its parent decides
            say(answers, protocol.failed_to_load(error))
            return
        greeting = Greeting(backend.fingerprint, backend.dimensions, backend.ahead)
        say(answers, greeting.to_bytes())
        while (asked := hear(questions)) is not None:
            say(answers, answer(backend, asked))


def answer(backend: "Backend", asked: bytes) -> bytes:
    """The frame that answers a question."""
    started = time.perf_counter()
    try:
        vectors = backend.run(protocol.asked(asked))
    except Exception as error:  # noqa: BLE001 - the outermost frame: its parent decides
        return protocol.failure(error)
    return protocol.answer(vectors, time.perf_counter() - started)
