"""Keys and links as an administrator asks for them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.gateway.access.access import OWNER, Principal
from services.gateway.access.keyring import Keyring
from services.gateway.access.keys import StoredKey
from services.gateway.access.models import (
    CreatedKeyAnswer,
    CreateKeyRequest,
    KeyRequest,
    KeysAnswer,
    KeyView,
    LinkAnswer,
)
from services.gateway.access.sessions import BrowserSessions
from services.gateway.problems import Problem


@dataclass(frozen=True, slots=True)
class AccessCommands:
    """What an administrator does about access. Every method may raise Problem."""

    keyring: Keyring | None = None
    """None: no gateway runs, or it asks for no keys."""
    sessions: BrowserSessions | None = None
    asked_by: Principal = OWNER

    async def create(self, request: CreateKeyRequest) -> CreatedKeyAnswer:
        """Make a key and tell it, once."""
        keyring = self._keyring()
        text, key = await keyring.create(
            request.name,
            tuple(dict.fromkeys(request.scopes)),
            None if request.sources is None else tuple(dict.fromkeys(request.sources)),
            request.expires_s,
        )
        return CreatedKeyAnswer(**_fields(key, keyring.clock()), key=text)

    async def keys(self) -> KeysAnswer:
        """List all keys, without their secrets."""
        keyring = self._keyring()
        now = keyring.clock()
        return KeysAnswer(keys=tuple(_view(key, now) for key in await keyring.all()))

    async def revoke(self, request: KeyRequest) -> KeyView:
        """Let a key open nothing any more."""
        keyring = self._keyring()
        return _view(await keyring.revoke(request.id), keyring.clock())

    async def link(self) -> LinkAnswer:
        """Make a link that lets one browser in."""
        if self.sessions is None:
            raise Problem("no_keys", "no gateway runs here that asks for keys")
        once, until = self.sessions.once(self.asked_by)
        return LinkAnswer(path=once, expires_at=datetime.fromtimestamp(until, UTC))

    def _keyring(self) -> Keyring:
        if self.keyring is None:
            raise Problem("no_keys", "no gateway runs here that asks for keys")
        return self.keyring


def _view(key: StoredKey, now: float) -> KeyView:
    return KeyView(**_fields(key, now))


def _fields(key: StoredKey, now: float) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        "sources": key.sources,
        "created_at": _moment(key.created_at),
        "expires_at": _moment(key.expires_at),
        "revoked_at": _moment(key.revoked_at),
        "good": key.is_good(now),
    }


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
