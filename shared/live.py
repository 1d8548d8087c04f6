"""Which generation is live: kept on the bus, so that a changed setting never rebuilds by itself."""

import json
from dataclasses import dataclass

from shared.errors import GARBAGE, ConfigurationError, NotProvisioned
from shared.generations import Generation, differences
from shared.ports import Shelf

LIVE = "live"


@dataclass(frozen=True, slots=True)
class Live:
    """The generation to serve, and what the settings ask for that it is not."""

    generation: Generation
    differences: tuple[str, ...] = ()


async def known_generation(shelf: Shelf, wanted: Generation) -> Live:
    """The same for a process that may not decide it.

    Raises:
        NotProvisioned: nobody has decided yet.
        ConfigurationError: as `live_generation`.
    """
    if await shelf.get(LIVE) is None:
        raise NotProvisioned("the bus is not ready yet: run `instep provision` as the admin")
    return await live_generation(shelf, wanted)


async def live_generation(shelf: Shelf, wanted: Generation) -> Live:
    """The generation that this installation serves; the wanted one where there is none yet.

    Raises:
        ConfigurationError: the note was written by a version of instep that this one cannot read.
    """
    noted = await shelf.get(LIVE)
    if noted is None:
        await shelf.put(LIVE, json.dumps(wanted.as_dict()).encode())
        return Live(wanted)
    try:
        live = Generation.from_dict(json.loads(noted))
    except GARBAGE:
        raise ConfigurationError(
            "the data folder was written by another version of instep; use another with --data"
        ) from None
    return Live(live, tuple(differences(live, wanted)))
