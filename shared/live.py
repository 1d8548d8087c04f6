"""The live generation: noted on the bus, so that a changed setting alone never rebuilds it."""

import json
from dataclasses import dataclass, replace
from typing import Final

from shared.domain.errors import GARBAGE, ConfigurationError, NotProvisioned
from shared.generation import Generation, differences
from shared.ports import Shelf

LIVE: Final = "live"
ANEW: Final = (
    "build a new index in an empty data folder (--data), or on an empty bus if you run your own, "
    "which embeds all texts anew"
)
"""How to put changed settings in force; the live index goes on meanwhile."""


@dataclass(frozen=True, slots=True)
class Live:
    """The generation to serve, and its differences from the settings."""

    generation: Generation
    differences: tuple[str, ...] = ()
    upgraded: str = ""
    """A notice about an index that an older release built; empty: none."""


async def known_generation(shelf: Shelf, wanted: Generation, formerly: str = "") -> Live:
    """The live generation, for a process that may not choose it.

    Raises:
        NotProvisioned: none is chosen yet.
        ConfigurationError: as `live_generation`.
    """
    noted = await shelf.get(LIVE)
    if noted is None:
        raise NotProvisioned("the bus is not ready yet: run `instep provision` as the admin")
    return _live(noted, wanted, formerly)


async def live_generation(shelf: Shelf, wanted: Generation, formerly: str = "") -> Live:
    """The generation that this installation serves; the wanted one where there is none yet.

    Args:
        formerly: the release before's name for the vectors of the wanted generation.

    Raises:
        ConfigurationError: the note was written by a version of instep that this one cannot read.
    """
    noted = await shelf.get(LIVE)
    live = Live(wanted) if noted is None else _live(noted, wanted, formerly)
    if noted is None or live.upgraded:
        await shelf.put(LIVE, json.dumps(live.generation.as_dict()).encode())
    return live


def _live(noted: bytes, wanted: Generation, formerly: str) -> Live:
    try:
        live = Generation.from_dict(json.loads(noted))
    except GARBAGE:
        raise ConfigurationError(
            "another version of instep wrote which index is live, and this one cannot read it: "
            f"start that version again, which finds the index as it was, or {ANEW}"
        ) from None
    upgraded = ""
    if formerly and live.encoder_fingerprint == formerly != wanted.encoder_fingerprint:
        live = replace(live, encoder=wanted.encoder_fingerprint)
        upgraded = (
            f"the index was built by an older instep, which did not look at all files of "
            f"{live.model}: its vectors are kept; if you changed such files since it "
            f"was built, {ANEW}"
        )
    if live.encoder_fingerprint == wanted.encoder_fingerprint:  # the model may have moved
        live = replace(live, model=wanted.model)
    return Live(live, tuple(differences(live, wanted)), upgraded)
