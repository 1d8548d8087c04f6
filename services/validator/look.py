"""Ledger and store as they are, asked about many documents at once."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.validator.checks import Verdict
from services.validator.observe import Observe
from shared.domain.errors import StoreUnavailable, TransientError
from shared.domain.ordering import Record
from shared.group import Group, Size
from shared.ports import Ledger

GATHER_S: Final = 0.1
"""How long a question waits for company while many come."""
PAUSES_S: Final = (0.1, 0.5)
"""Before a reading that the store has failed is repeated: sending a whole group back costs each of
its events a note and a longer wait."""
ONE: Final = Size(1)

Seen = Callable[[Mapping[str, Record], Mapping[str, Verdict]], None]


@dataclass(frozen=True, slots=True)
class Look:
    """Ledger and store at one moment. `verdict`: None when there is no record."""

    record: Record | None
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Ask:
    """One question. `sample`: ask for the document by its own vector, too."""

    doc_key: str
    sample: bool = False


class Looks:
    """Answers questions that come while others are being answered all together.

    Every answer is of a reading that began after its question was asked. What is wrong with one
    document is an error for its caller only; a ledger or store that is away, for all of a group.

    Args:
        seen: told what every reading has found.
    """

    def __init__(self, ledger: Ledger, observe: Observe, seen: Seen) -> None:
        self._ledger, self._observe, self._seen = ledger, observe, seen
        self._group: Group[Ask, Look] = Group(self._together, lambda _: ONE, GATHER_S)

    async def __call__(self, ask: Ask) -> Look:
        """Raises StoreUnavailable, BusUnavailable, or what is wrong with this document."""
        return await self._group(ask)

    async def _together(self, asks: Sequence[Ask]) -> Sequence[Look | Exception]:
        try:
            return await self._read_patiently(asks)
        except TransientError:
            raise
        except Exception:  # one document of them must not spoil the others
            if len(asks) == 1:
                raise
        return [await self._apart(ask) for ask in asks]

    async def _read_patiently(self, asks: Sequence[Ask]) -> list[Look]:
        for pause_s in PAUSES_S:
            try:
                return await self._read(asks)
            except StoreUnavailable:
                await asyncio.sleep(pause_s)
        return await self._read(asks)

    async def _apart(self, ask: Ask) -> Look | Exception:
        try:
            (look,) = await self._read([ask])
        except Exception as error:  # noqa: BLE001 - it is this caller's
            return error
        return look

    async def _read(self, asks: Sequence[Ask]) -> list[Look]:
        records = await self._ledger.get_many({ask.doc_key for ask in asks})
        verdicts = await self._observe(records, {ask.doc_key for ask in asks if ask.sample})
        self._seen(records, verdicts)
        return [Look(records.get(ask.doc_key), verdicts.get(ask.doc_key)) for ask in asks]
