"""Requests and answers about keys and browsers."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator

from services.gateway.access.keys import ID_PATTERN
from services.gateway.models import Request, Response
from shared.domain.ids import SOURCE_PATTERN

LONGEST_S: Final = 10 * 365 * 86_400.0

KeyScope = Literal["search", "read", "write", "operate", "admin"]
SourceName = Annotated[str, Field(pattern=SOURCE_PATTERN)]


class CreateKeyRequest(Request):
    """A new key."""

    scopes: tuple[KeyScope, ...] = Field(min_length=1, max_length=5)
    """What it allows; none includes another."""
    sources: tuple[SourceName, ...] | None = Field(default=None, min_length=1, max_length=100)
    """What it may see, write and count; None: all sources, also those that come later."""
    expires_s: float | None = Field(default=None, gt=0, le=LONGEST_S, allow_inf_nan=False)
    """Seconds until it opens nothing any more; None: never."""
    name: str = Field(default="", max_length=100)
    """For people: who uses it, and for what."""

    @field_validator("name")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("name: must be printable, in one line")
        return value


class KeyRequest(Request):
    """One key."""

    id: str = Field(pattern=f"^{ID_PATTERN}$")


class KeyView(Response):
    """A key, without its secret, which is stored nowhere."""

    id: str
    name: str
    scopes: tuple[str, ...]
    sources: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    good: bool
    """It has not expired and was not revoked."""


class CreatedKeyAnswer(KeyView):
    """A new key."""

    key: str
    """The key itself; no answer tells it again."""


class KeysAnswer(Response):
    """All keys, the newest first; also those that expired or were revoked."""

    keys: tuple[KeyView, ...]


class EnterRequest(Request):
    """The beginning of a browser's session."""

    once: str = Field(default="", max_length=100)
    """Of a link that works once."""


class LinkRequest(Request):
    """No fields."""


class LinkAnswer(Response):
    """A link for a browser, which works once."""

    path: str
    """Below the address of the gateway that gave it."""
    expires_at: datetime
