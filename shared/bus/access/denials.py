"""Denials of permission by the server.

The server reports them beside the answers; a denied request would only time out, again and again.
This module passes a denial at once to the waiting caller and to a listener.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared.domain.errors import ConfigurationError

log = structlog.get_logger(__name__)

VIOLATION: Final = re.compile(
    r'permissions violation for (publish|subscription) to "([^"]*)"', re.IGNORECASE
)
INBOXES: Final = "_inbox"

Told = Callable[[ConfigurationError], None]
Spared = Callable[[str, str], None]
"""Called as what `denied` returns."""


def denied(error: Exception) -> tuple[str, str] | None:
    """`("publish", subject)` or `("subscription", subject)` that an error is about. Pure.

    The client hands the server's words on in lower case, subjects too.
    """
    found = VIOLATION.search(str(error))
    return (found[1].lower(), found[2].lower()) if found else None


def denial(verb: str, subject: str) -> ConfigurationError:
    """Its message. Pure."""
    what = "publish to" if verb == "publish" else "subscribe to"
    return ConfigurationError(
        f"the key of this process may not {what} {subject}: give it the key of its own service "
        "(bus.nkey); after an upgrade or a change of the model, run `instep keys` again"
    )


class Denials:
    """The waiting calls of one client, by subject."""

    def __init__(self, client: Client) -> None:
        self._request = client.request
        self._waiting: dict[str, dict[asyncio.Timeout, str]] = {}
        self._why: dict[asyncio.Timeout, ConfigurationError] = {}
        self._told: Told = lambda error: log.error("denied", reason=str(error))
        self._spared: dict[str, Spared] = {}

    def listen(self, told: Told) -> None:
        """Pass denials to a listener instead of the log."""
        self._told = told

    def spare(self, prefix: str, told: Spared) -> None:
        """Pass denials of subjects that begin so to `told` only.

        For requests that the process can do without, and sends without waiting.
        """
        self._spared[prefix.lower()] = told

    @asynccontextmanager
    async def answered(self, subject: str) -> AsyncIterator[None]:
        """Around the wait for an answer. Raises ConfigurationError when the question is denied."""
        scope, key = asyncio.timeout(None), subject.lower()
        waiting = self._waiting.setdefault(key, {})
        try:
            async with scope:
                waiting[scope] = subject
                yield
        except TimeoutError:
            if scope in self._why:
                raise self._why[scope] from None
            raise
        finally:
            self._why.pop(scope, None)
            waiting.pop(scope, None)
            if not waiting:
                self._waiting.pop(key, None)

    async def request(self, subject: str, *args: Any, **options: Any) -> Msg:
        """As `Client.request`. Raises ConfigurationError when the server denies it, too."""
        async with self.answered(subject):
            return await self._request(subject, *args, **options)

    def on_error(self, error: Exception) -> bool:
        """Pass on a denial; False: the error is another one."""
        found = denied(error)
        if found is None:
            return False
        verb, subject = found
        spared = next((t for prefix, t in self._spared.items() if subject.startswith(prefix)), None)
        if spared is not None:
            spared(verb, subject)
        elif verb == "subscription":  # then no answer can come
            why = denial(verb, subject)
            self._end((scope, why) for scopes in self._waiting.values() for scope in scopes)
            self._told(why)
        elif waiting := self._waiting.get(subject):
            whys = [(scope, denial(verb, asked)) for scope, asked in waiting.items()]
            self._end(whys)
            self._told(whys[0][1])
        elif subject.startswith(INBOXES):  # a caller that waits there needs the permission
            log.warning("answer_denied", subject=subject)
        else:
            self._told(denial(verb, subject))
        return True

    def _end(self, scopes: Iterable[tuple[asyncio.Timeout, ConfigurationError]]) -> None:
        now = asyncio.get_running_loop().time()
        for scope, why in list(scopes):
            if not scope.expired():
                self._why[scope] = why
                scope.reschedule(now)


_WATCHED: "WeakKeyDictionary[Client, Denials]" = WeakKeyDictionary()


def watch(client: Client) -> Denials:
    """Pass denials to the client's requests; other errors go where they went before."""
    denials, before = Denials(client), client._error_cb
    _WATCHED[client] = denials
    client.request = denials.request  # type: ignore[method-assign]

    async def on_error(error: Exception) -> None:
        if not denials.on_error(error):
            await before(error)

    client._error_cb = on_error
    return denials


@asynccontextmanager
async def answered(client: Client, subject: str) -> AsyncIterator[None]:
    """Around the wait for an answer that `request` cannot give. Raises ConfigurationError."""
    denials = _WATCHED.get(client)
    if denials is None:
        yield
        return
    async with denials.answered(subject):
        yield
