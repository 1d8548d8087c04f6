"""Frames between a process and its child: a length, then so many bytes. Pure."""

import struct
from typing import Final

HEAD: Final = struct.Struct(">I")
"""The length of the frame that follows."""


class Garbled(Exception):
    """The other process broke the protocol."""


def framed(data: bytes) -> bytes:
    return HEAD.pack(len(data)) + data


def length(head: bytes, most_bytes: int = 2**32 - 1) -> int:
    """Bytes of the frame that follows. Raises Garbled when they are more than allowed."""
    (size,) = HEAD.unpack(head)
    if size > most_bytes:
        raise Garbled("a frame without measure")
    return int(size)


def broke(error: BaseException) -> str:
    """A foreign error as its type and where it arose; its text may quote a document."""
    at, where = error.__traceback__, ""
    while at is not None:
        where, at = f"{at.tb_frame.f_code.co_qualname}:{at.tb_lineno}", at.tb_next
    return f"{type(error).__name__} in {where}"
