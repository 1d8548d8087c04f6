"""Sessions of browsers: a link that works once is exchanged for a signed cookie.

The cookie is signed with a key that is derived from the owner's, so every gateway with that key
takes it, and a new owner's key ends all sessions.
"""

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from math import inf
from typing import Final

from services.gateway.access.access import OWNER, Principal
from services.gateway.problems import Problem

SESSION_S: Final = 12 * 3600
LINK_S: Final = 600
MOST_LINKS: Final = 100
_SAFE_SITES: Final = ("", "none", "same-origin")


class BrowserSessions:
    """The links of this gateway, and the sessions of all that have the same owner's key."""

    def __init__(self, owner: str, clock: Callable[[], float] = time.time) -> None:
        self._key = _signed(owner.encode(), "instep browser sessions").encode()
        self._clock = clock
        self._links: OrderedDict[str, tuple[float, Principal]] = OrderedDict()
        """The end of each link and who made it, by its digest."""
        # browsers send the cookies of all ports of a host: each instance has a name of its own
        self.cookie: Final = f"instep_{_signed(self._key, 'name')[:12]}"

    def once(self, maker: Principal = OWNER) -> tuple[str, float]:
        """The path of a new link, and the Unix time of its end.

        Args:
            maker: an administrator, for all sources; the session ends with their key.
        """
        token, until = secrets.token_urlsafe(32), self._clock() + LINK_S
        self._links[_digest(token)] = until, maker
        if len(self._links) > MOST_LINKS:
            self._links.popitem(last=False)
        return f"/enter?once={token}", until

    def enter(self, token: str) -> str:
        """The cookie for a link, which works no more.

        Raises:
            Problem: `no_key`: the link was used before, is too old, or is none.
        """
        until, maker = self._links.pop(_digest(token), (0.0, OWNER))
        if self._clock() >= until:
            raise Problem(
                "no_key",
                "the link has been used, or is older than 10 minutes",
                "instep open prints a new one",
            )
        end = min(self._clock() + SESSION_S, maker.until or inf)
        told = f"{int(end)}.{maker.key or ''}.{secrets.token_urlsafe(12)}"
        return f"{told}.{_signed(self._key, told)}"

    def access(self, cookies: Mapping[str, str], headers: Mapping[str, str]) -> Principal | None:
        """What a browser may do by its cookie, if its key still counts; None: it has none.

        A request that a page of another origin makes, another port of this machine included, does
        not show the cookie of its own will.
        """
        if headers.get("Sec-Fetch-Site", "") not in _SAFE_SITES:
            return None
        told, _, signature = cookies.get(self.cookie, "").rpartition(".")
        until, _, rest = told.partition(".")
        if not hmac.compare_digest(_signed(self._key, told).encode(), _bytes(signature)):
            return None
        if not until.isdigit() or self._clock() >= int(until):
            return None
        return replace(OWNER, until=float(until), key=rest.rpartition(".")[0] or None)


def _signed(key: bytes, text: str) -> str:
    return hmac.new(key, _bytes(text), sha256).hexdigest()


def _digest(token: str) -> str:
    return sha256(_bytes(token)).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
