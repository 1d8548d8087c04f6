"""Wait for the outcomes of submissions, across a gateway that is started anew."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from instep.client import Client, ClientError, Refused
from services.cli import exits
from services.cli.exits import Stop

AT_ONCE_S: Final = 30.0
"""Of one request."""
PAUSE_S: Final = 1.0


@dataclass(slots=True)
class Waiter:
    """Asks for receipts, each until it is final or the time is over.

    reach: connects to the gateway, wherever it is by now.
    deadline: by `clock`.
    """

    reach: Callable[[], Client]
    deadline: float
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    away: bool = False
    """The time is over, and no gateway answers: it is not asked for further receipts."""

    @classmethod
    def within(cls, wait_s: float, reach: Callable[[], Client]) -> "Waiter":
        return cls(reach, time.monotonic() + wait_s)

    def outcome(self, receipt: str) -> dict[str, Any]:
        """The newest answer about a receipt; empty: no gateway gave one in time.

        Raises:
            Stop: the answer is no, and will stay so.
        """
        found: dict[str, Any] = {}
        while not self.away:
            left = max(0.0, self.deadline - self.clock())
            fields = {"receipt": receipt, "wait": round(min(left, AT_ONCE_S), 2)}
            try:
                found = self.reach().ask("receipt", fields)
            except ClientError as error:
                if not _passes(error):
                    told = f"accepted, but its outcome is not told: {error.detail}"
                    raise Stop(told, fix=error.fix, status=exits.NEEDS_YOU) from None
                self.away = left <= 0
                self.sleep(min(PAUSE_S, left))
            if found.get("final") or left <= 0:
                break
        return found


def _passes(error: ClientError) -> bool:
    return not isinstance(error, Refused) or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
