"""Keys of programs: their text, and what is stored of it. Pure.

A key is `ik_ID_SECRET`. Its id names the stored record, so a wrong key costs one look-up; of the
secret, 256 random bits, only the SHA-256 is stored.
"""

import hmac
import json
import re
import secrets
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Final

from services.gateway.access.access import SCOPES, Principal
from shared.domain.errors import GARBAGE
from shared.domain.ids import is_source

PREFIX: Final = "ik_"
ID_PATTERN: Final = "[0-9a-f]{12}"
_KEY: Final = re.compile(f"{PREFIX}({ID_PATTERN})_[A-Za-z0-9_-]{{43}}")


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as it is stored; times are Unix times."""

    id: str
    name: str
    digest: str
    """SHA-256 of the whole key, in hex."""
    scopes: tuple[str, ...]
    sources: tuple[str, ...] | None
    """None: all, also those that come later."""
    created_at: float
    expires_at: float | None = None
    """None: never."""
    revoked_at: float | None = None

    def is_good(self, now: float) -> bool:
        """Whether it opens anything at this time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    @property
    def access(self) -> Principal:
        """What its holder may do."""
        sources = None if self.sources is None else frozenset(self.sources)
        return Principal(self.id, frozenset(self.scopes), sources, self.expires_at, self.id)


def new_key(
    name: str,
    scopes: tuple[str, ...],
    sources: tuple[str, ...] | None,
    *,
    now: float,
    expires_at: float | None,
) -> tuple[str, StoredKey]:
    """A new key: its text, and what is stored of it."""
    id = secrets.token_hex(6)
    text = f"{PREFIX}{id}_{secrets.token_urlsafe(32)}"
    return text, StoredKey(id, name, _digest(text), scopes, sources, now, expires_at)


def id_of(text: str) -> str | None:
    """The id in a key; None: it is none."""
    found = _KEY.fullmatch(text)
    return found[1] if found else None


def opens(text: str, stored: StoredKey | None, now: float) -> bool:
    """Whether the key is the stored one, and good at this time; takes as long for every wrong one.

    Args:
        stored: the record under the id of the key; None: there is none.
    """
    same = hmac.compare_digest(_digest(text), stored.digest if stored else _digest(""))
    return stored is not None and same and stored.is_good(now)


def packed(key: StoredKey) -> bytes:
    """The record as it is stored."""
    return json.dumps(asdict(key)).encode()


def unpacked(value: bytes) -> StoredKey | None:
    """The record; None: this version cannot read it, so its key opens nothing."""
    try:
        fields = json.loads(value)
        sources = fields.pop("sources")
        scopes = tuple(fields.pop("scopes"))
        known = {name: fields[name] for name in StoredKey.__slots__ if name in fields}
        key = StoredKey(**known, scopes=scopes, sources=None if sources is None else tuple(sources))
        return key if _is_sound(key) else None
    except (*GARBAGE, AttributeError):
        return None


def _is_sound(key: StoredKey) -> bool:
    texts = (key.id, key.name, key.digest, *key.scopes, *(key.sources or ()))
    times = (key.created_at, key.expires_at, key.revoked_at)
    return (
        all(isinstance(text, str) for text in texts)
        and all(map(is_source, key.sources or ()))
        and all(time is None or isinstance(time, int | float) for time in times)
        and set(key.scopes) <= set(SCOPES)
    )


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
