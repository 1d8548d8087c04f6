"""The outcome of a sweep, as numbers. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.validator.sweep.differences import Difference

SAMPLES: Final = 20
"""Paths of each kind that a note names."""
KINDS: Final = ("missing", "extra", "damaged", "lost", "stuck", "unknown", "beyond_repair", "held")


@dataclass(frozen=True, slots=True)
class Swept:
    """The outcome of a sweep."""

    documents: int
    """That DOCS or the ledger know."""
    rows: int
    """In the store."""
    missing: int = 0
    """Rows that were promised and not there."""
    extra: int = 0
    """Rows outside the ledger, of known documents."""
    damaged: int = 0
    """Rows that were damaged, or there twice."""
    lost: int = 0
    """Documents whose newest change the ledger did not know."""
    stuck: int = 0
    """Documents that were pending for too long."""
    unknown: int = 0
    """Documents that had rows and that neither DOCS nor the ledger knew, the held ones too."""
    beyond_repair: int = 0
    """Documents with missing or damaged rows whose content is lost, or that wait for a person; and
    those whose newest change has a number below the accepted one."""
    held: int = 0
    """Unknown documents whose rows wait for a person's decision."""
    resubmitted: Mapping[str, int] = field(default_factory=dict)
    """doc_key to the revision that repairs it, or takes it out."""
    processed: int = 0
    """Of those: settled by now."""
    failed: int = 0
    """Of those: given up."""
    unsent: int = 0
    """Documents that were left for another sweep, because no sent one had ended."""
    samples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Some paths of each kind."""
    took_s: float = 0.0
    dry_run: bool = False

    @property
    def clean(self) -> bool:
        """No side differed."""
        return not any(getattr(self, kind) for kind in KINDS)

    @property
    def needs_you(self) -> bool:
        """A difference is left that the sweep does not repair."""
        return bool(self.beyond_repair or self.held or self.failed)


def of_kinds(
    found: Sequence[Difference], held: Sequence[Difference], hopeless: Mapping[str, Difference]
) -> dict[str, list[Difference]]:
    return {
        "missing": [one for one in found if one.missing],
        "extra": [one for one in found if one.extra and not one.unknown],
        "damaged": [one for one in found if one.damaged],
        "lost": [one for one in found if one.lost],
        "stuck": [one for one in found if one.stuck],
        "unknown": [one for one in found if one.unknown],
        "beyond_repair": [one for one in found if one.beyond_repair or one.doc_key in hopeless],
        "held": list(held),
    }


def counts(
    found: Sequence[Difference], held: Sequence[Difference], hopeless: Mapping[str, Difference]
) -> dict[str, int]:
    """Rows of the kinds that concern rows, documents of the others."""
    found_of = {kind: len(some) for kind, some in of_kinds(found, held, hopeless).items()}
    for kind in ("missing", "damaged"):
        found_of[kind] = sum(len(getattr(one, kind)) for one in found)
    found_of["extra"] = sum(len(one.extra) for one in found if not one.unknown)
    return found_of


def samples(
    found: Sequence[Difference], held: Sequence[Difference], hopeless: Mapping[str, Difference]
) -> dict[str, tuple[str, ...]]:
    return {
        kind: tuple(sorted(f"{one.source}/{one.path or one.doc_key}" for one in some)[:SAMPLES])
        for kind, some in of_kinds(found, held, hopeless).items()
        if some
    }
