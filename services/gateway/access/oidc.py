"""Tokens of an OpenID Connect issuer: from a bearer to what its holder may do.

The keys of the issuer are kept, so a request asks nobody. They are asked for again beside the
requests when they are old, and at once for a key that is not among them, but never more often than
every AGAIN_S: tokens that name keys at random must not become requests to the issuer. While it
does not answer, the keys that are known count for KEPT_S.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from services.gateway.access.access import Principal
from services.gateway.access.claims import access_from, refused
from services.gateway.access.issuer import IssuerUnavailable, fetch_keys
from services.gateway.access.jwks import Key, TokenHeader, claims_of, fitting, read_header
from services.gateway.problems import Problem
from shared.settings.groups import Oidc

FRESH_S: Final = 300.0
"""After which the keys are asked for again: a key that the issuer withdraws counts so long."""
AGAIN_S: Final = 10.0
"""Between two questions to the issuer."""
KEPT_S: Final = 24 * 3600.0
"""As long as keys count while the issuer does not answer."""
WAITING: Final = 16
"""Requests that wait for the issuer at once; the others are told to come again."""

FetchKeys = Callable[[str], Awaitable[Sequence[Key]]]
log = structlog.get_logger(__name__)


class TokenVerifier:
    """Verifies the tokens of one issuer.

    Args:
        now: Unix time, by which claims are judged.
        clock: by which the age of keys is counted.
    """

    def __init__(
        self,
        rule: Oidc,
        *,
        fetch: FetchKeys = fetch_keys,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rule, self._now = rule, now
        self._keys = IssuerKeys(rule.issuer or "", fetch, clock)

    async def verify(self, token: str) -> Principal:
        """What the holder of a token may do.

        Raises:
            Problem: `invalid_token`, `issuer_unavailable`.
        """
        keys = await self._keys.of(read_header(token))
        return access_from(claims_of(token, keys), self._rule, self._now())

    async def close(self) -> None:
        """Ask the issuer no more."""
        await self._keys.close()


class IssuerKeys:
    """The keys of an issuer as they were last read."""

    def __init__(self, issuer: str, fetch: FetchKeys, clock: Callable[[], float]) -> None:
        self._issuer, self._fetch, self._clock = issuer, fetch, clock
        self._keys: Sequence[Key] = ()
        self._read_at: float | None = None
        """None: never."""
        self._asked_at: float | None = None
        self._failure = ""
        """Of the last question; empty: it was answered."""
        self._asking: asyncio.Task[None] | None = None
        self._waiting = 0

    async def of(self, header: TokenHeader) -> Sequence[Key]:
        """The keys that can have signed a token, at least one.

        Raises:
            Problem: `invalid_token`: the issuer names no such key; `issuer_unavailable`: it does
                not answer, so nothing is known of the key.
        """
        if self._age() > KEPT_S:
            self._keys = ()
        if self._keys and self._age() > FRESH_S and self._may_ask():
            self._ask()
        found = fitting(self._keys, header)
        if not found and (self._asking is not None or self._may_ask()):
            await self._wait()
            found = fitting(self._keys, header)
        if found:
            return found
        if self._failure:
            raise Problem("issuer_unavailable", f"the issuer of the token: {self._failure}")
        raise refused("the issuer names no key that can have signed the token")

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._asking

    def _age(self) -> float:
        return float("inf") if self._read_at is None else self._clock() - self._read_at

    def _may_ask(self) -> bool:
        return self._asked_at is None or self._clock() - self._asked_at >= AGAIN_S

    def _ask(self) -> asyncio.Task[None]:
        """Ask the issuer, unless that goes on already."""
        if self._asking is None:
            self._asked_at = self._clock()
            self._asking = asyncio.create_task(self._read(), name="read keys of the issuer")
        return self._asking

    async def _wait(self) -> None:
        if self._waiting >= WAITING:
            raise Problem("issuer_unavailable", "the issuer of the token is being asked")
        self._waiting += 1
        try:
            await asyncio.shield(self._ask())
        finally:
            self._waiting -= 1

    async def _read(self) -> None:
        try:
            self._keys = await self._fetch(self._issuer)
            self._read_at, self._failure = self._clock(), ""
        except IssuerUnavailable as error:
            self._failure = str(error)
            log.warning("issuer_unavailable", issuer=self._issuer, reason=str(error))
        finally:
            self._asking = None
