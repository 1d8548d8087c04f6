"""Requests to the running instance."""

from pathlib import Path

from instep.client import Client, Refused, Unreachable
from shared.domain.errors import BusUnavailable, ConfigurationError

HOW = "start one: instep up PATH"


def generate_embeddings(batch_size: int, *, data: str | Path | None) -> dict[str, int]:
    """As `instep.generate_embeddings`."""
    try:
        answer = Client(data=data, again=()).ask("sweep", {"batch_size": batch_size})
    except Unreachable as error:
        raise BusUnavailable(f"{error.detail}; {HOW}") from None
    except Refused as refused:
        if refused.status >= 500:
            raise BusUnavailable(f"{refused.detail}; {HOW}") from None
        raise ConfigurationError(refused.detail) from None
    return {"processed": int(answer["processed"]), "failed": int(answer["failed"])}
