"""Requests to the running instance."""

import os
from pathlib import Path
from typing import Final

from services.cli import exits
from services.cli.api.ask import find
from services.cli.api.client import ask
from services.cli.commands.validate import SWEEP_TIMEOUT_S
from services.cli.exits import Stop
from services.cli.options import DATA, Surroundings
from services.host.options import Options
from shared.domain.errors import BusUnavailable, ConfigurationError

HOW: Final = "start one: instep up PATH"


def generate_embeddings(batch_size: int, *, data: str | Path | None) -> dict[str, int]:
    """As `instep.generate_embeddings`."""
    folder = Path(data or Surroundings.of(os.environ).data or DATA)
    try:
        url = find(Options(data=folder))
        if url is None:
            raise BusUnavailable(f"no instance runs in {folder}; {HOW}")
        answer = ask(url, "sweep", {"batch_size": batch_size}, timeout_s=SWEEP_TIMEOUT_S)
    except Stop as stop:
        if stop.status == exits.NOT_REACHABLE:
            raise BusUnavailable(f"{stop.text}; {HOW}") from None
        raise ConfigurationError(stop.text) from None
    return {"processed": int(answer["processed"]), "failed": int(answer["failed"])}
