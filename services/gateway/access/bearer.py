"""From the header `Authorization` to what its sender may do."""

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from services.gateway.access.access import OWNER, Principal
from services.gateway.access.keyring import NO_KEY, Keyring
from services.gateway.access.keys import PREFIX
from services.gateway.access.sessions import BrowserSessions
from services.gateway.problems import Problem

Verify = Callable[[str], Awaitable[Principal]]
"""What the bearer of a token may do. Raises Problem `invalid_token`, `issuer_unavailable`."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a gateway accepts."""

    owner: str | None = None
    """The owner's key; None: every request counts as the owner's (`gateway.auth = "none"`)."""
    keys: Keyring | None = None
    tokens: Verify | None = None
    sessions: BrowserSessions | None = None
    any_host: bool = True
    """A request with a key may have any Host."""

    @property
    def are_asked_for(self) -> bool:
        return self.owner is not None


NONE_NEEDED: Final = Credentials(any_host=False)


async def access_of(authorization: str, known: Credentials) -> Principal:
    """What the sender of a request may do.

    Args:
        authorization: `Bearer KEY`, `Bearer TOKEN` or `Basic base64(ANY:KEY)`; empty: none came.

    Raises:
        Problem: `no_key`; it does not say what is wrong. Of a token `invalid_token`, which does,
            and `issuer_unavailable`.
        BusUnavailable: a key cannot be looked up; the owner's needs no bus.
    """
    if known.owner is None:
        return OWNER
    given = shown(authorization)
    if given and hmac.compare_digest(_bytes(given), _bytes(known.owner)):
        return OWNER
    if given.startswith(PREFIX) and known.keys is not None:
        return await known.keys.access(given)
    if "." in given and known.tokens is not None:
        return await known.tokens(given)
    raise Problem("no_key", NO_KEY)


def shown(authorization: str) -> str:
    """The key or token in the header; empty: there is none. Pure."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    elif scheme.lower() != "bearer":
        return ""
    return given.strip()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a header may hold any bytes
