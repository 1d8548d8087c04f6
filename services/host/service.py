"""The parts that services hand to the runtime."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from shared.bus.session import BusSession

Loop = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Part:
    """One service, built and ready: its consumers and its loops.

    subscribe: binds its stages to the session, before that starts.
    loops: run until they are cancelled, after the stages have drained; each may end by itself.
    """

    subscribe: Callable[[BusSession], None] = lambda _: None
    loops: tuple[Loop, ...] = ()
