"""The process that reads documents for the enricher, one after the other.

It can be killed at any time, and a document can harm this process only: little memory, little time,
nothing written to files, no processes, no environment, no core dump, and its death with its
parent's. It imports no more than reading needs.

It is the same user as its parent and may read files, as Python's tables of encodings: a fence
against documents that break or wear out a parser, not a cell for one that runs their code.
"""

import contextlib
import math
import os
import resource
from collections.abc import Iterator

import selectolax.lexbor  # noqa: F401 - loaded before the first document

from shared.domain.errors import DocumentRefused
from shared.formats.blocks import check_amount
from shared.formats.extract import extract
from shared.reading import protocol
from shared.reading.protocol import Question
from shared.sandbox.inside import confine, hear, pipes, say

MAX_FILES = 16
"""Open at a time: the pipes, and modules that Python loads when it first needs them."""
NICENESS = 5
LIMITS = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NOFILE: MAX_FILES, resource.RLIMIT_NPROC: 0}


def main(memory_bytes: int, cpu_s: float) -> None:
    """Answer questions until standard input ends.

    Args:
        memory_bytes: most address space.
        cpu_s: most processor time for one document; whole seconds count.
    """
    with pipes() as (questions, answers):
        confine(LIMITS | {resource.RLIMIT_AS: memory_bytes})
        with contextlib.suppress(OSError):
            os.nice(NICENESS)
        say(answers, protocol.READY)
        while (asked := hear(questions)) is not None:
            allow(cpu_s)
            try:
                for frame in answer(Question.from_bytes(asked), hear(questions) or b""):
                    say(answers, frame)
            except MemoryError:
                say(answers, protocol.MEMORY)
                return  # the rest of the heap is of no use


def answer(question: Question, data: bytes) -> Iterator[bytes]:
    """The frames that answer a question. Raises MemoryError."""
    try:
        extracted = extract(
            data, path=question.path, media_type=question.media_type, title=question.title
        )
        check_amount(extracted.blocks, question.max_chars)
    except DocumentRefused as refusal:
        yield protocol.refused(refusal)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - the outermost frame: its parent decides
        yield protocol.broke(error)
    else:
        yield from protocol.told(extracted)


def allow(cpu_s: float) -> None:
    """Allow so much processor time from now on; then the kernel sends SIGXCPU."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + cpu_s)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
