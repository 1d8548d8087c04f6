"""The child's side: limits and pipes. It imports next to nothing."""

import contextlib
import os
import resource
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from shared.sandbox import frames

KILLED_FIRST: Final = "1000"
PARENT_LOOK_S: Final = 1.0
"""How often a child checks that its parent lives, where the kernel does not end both together."""


@contextlib.contextmanager
def pipes() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Standard input and output for frames alone: prints of libraries are discarded."""
    with os.fdopen(os.dup(0), "rb") as questions, os.fdopen(os.dup(1), "wb") as answers:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nowhere, standard)
        os.close(nowhere)
        yield questions, answers


def end_with(parent: int) -> None:
    """End this process once its parent has ended, also during a call that hangs.

    Only a call that holds the interpreter's lock delays it.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_LOOK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def confine(limits: Mapping[int, int]) -> None:
    """Set limits, by `resource.RLIMIT_…`, and disable core dumps.

    When memory runs out, the kernel ends this process before its parent. Limits that the system
    does not support are skipped.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(KILLED_FIRST, encoding="ascii")
    for what, most in ({resource.RLIMIT_CORE: 0} | dict(limits)).items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))


def hear(questions: BinaryIO) -> bytes | None:
    """The next frame; None: the parent sends no more."""
    head = questions.read(frames.HEAD.size)
    if len(head) < frames.HEAD.size:
        return None
    return questions.read(frames.length(head))


def say(answers: BinaryIO, frame: bytes) -> None:
    answers.write(frames.framed(frame))
    answers.flush()
