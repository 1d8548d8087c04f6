"""Requests and answers about webhooks."""

from datetime import datetime

from pydantic import Field

from services.gateway.models import Request, Response
from shared.domain.ids import SOURCE_PATTERN


class WebhookRequest(Request):
    """One webhook."""

    name: str = Field(pattern=SOURCE_PATTERN)


class DeadEvent(Response):
    """An event that was given up."""

    id: int
    """That of the event."""
    at: datetime
    """Of the last try."""
    error: str


class WebhookView(Response):
    """A webhook, and how far it is."""

    name: str
    host: str
    """Scheme, host and port of its address; the rest may be a secret."""
    types: tuple[str, ...]
    """Empty: all."""
    sources: tuple[str, ...]
    """Empty: all."""
    position: int | None
    """Id of the last event that was looked at; None: no gateway has begun to send."""
    delivered: int
    waiting: int
    """Events that were not tried yet."""
    failing: int
    """Events that wait for another try."""
    dead: int
    """Events that were given up, and are kept for `retry`."""
    lost: int
    """Events that were not delivered, or perhaps, before the bus dropped them after seven days."""
    error: str
    """Of the last try that failed: a status, or the kind of the error."""
    error_at: datetime | None
    stopped: str
    """Why this gateway sends nothing; empty: it does, or another gateway does."""
    last_dead: tuple[DeadEvent, ...]
    """The newest of those that were given up, at most 20."""


class WebhooksAnswer(Response):
    """The webhooks of the settings, by name."""

    webhooks: tuple[WebhookView, ...]


class RetriedAnswer(Response):
    """Events that are sent again."""

    name: str
    events: int
