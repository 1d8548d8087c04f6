"""Whether a process lives, and whether it is ready. Pure: observations are passed in.

Alive means that starting it again would not help: it depends on nothing outside the process. Ready
means that it does its work now: the bus, the store and the model are there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

WEDGED_AFTER_S: Final = 30.0
"""A fetch loop turns every 5 seconds, and at least every 7 while its server is away."""


@dataclass(frozen=True, slots=True)
class StageSight:
    """The observation of a stage at one moment."""

    name: str
    open: bool
    """It has begun to fetch, and was not told to stop."""
    receives: bool
    """The server gave a sign lately that it would deliver."""
    turned_s: float
    """Seconds since its fetch loop turned."""
    fatal: str = ""
    """Why it can never fetch again."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The observation of a process at one moment.

    `waits`: the dependencies that it waits for, and why, e.g. `{"bus": "no server answers"}`.
    `connected`: None before there is a connection.
    """

    serving: bool = False
    stopping: bool = False
    failed: str = ""
    """The reason that ended the work for good."""
    waits: Mapping[str, str] = field(default_factory=dict)
    connected: bool | None = None
    stages: Sequence[StageSight] = ()


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One check and its result."""

    name: str
    ok: bool
    text: str

    def told(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "text": self.text}


def alive(seen: Sight, *, wedged_after_s: float = WEDGED_AFTER_S) -> list[HealthCheck]:
    """The checks of life: a supervisor restarts the process when one fails or no answer comes."""
    found = [HealthCheck("loop", True, "the event loop turns")]
    if seen.failed:
        found.append(HealthCheck("work", False, seen.failed))
    for stage in seen.stages:
        if stage.fatal:
            found.append(HealthCheck(stage.name, False, stage.fatal))
        elif stage.open and stage.turned_s > wedged_after_s:
            text = f"its fetch loop has not turned for {stage.turned_s:.0f} s"
            found.append(HealthCheck(stage.name, False, text))
    return found


def ready(seen: Sight, *, wedged_after_s: float = WEDGED_AFTER_S) -> list[HealthCheck]:
    """The checks of readiness; each missing dependency gives its reason."""
    if seen.stopping:
        return [HealthCheck("stopping", False, "finishes its running work, and ends")]
    found = [check for check in alive(seen, wedged_after_s=wedged_after_s) if not check.ok]
    found += [HealthCheck(what, False, f"waits: {why}") for what, why in sorted(seen.waits.items())]
    if "bus" not in seen.waits:
        found.append(_bus(seen.connected))
    if not seen.serving:
        found.append(HealthCheck("services", False, "starting"))
    return [*found, *_stages(seen)]


def _bus(connected: bool | None) -> HealthCheck:
    if connected is None:
        return HealthCheck("bus", False, "not connected yet")
    return HealthCheck("bus", connected, "connected" if connected else "the connection was lost")


def _stages(seen: Sight) -> Iterator[HealthCheck]:
    for stage in seen.stages:
        if stage.open and stage.receives:
            yield HealthCheck(stage.name, True, "fetches")
        elif not stage.fatal:
            yield HealthCheck(
                stage.name, False, "gets no messages" if stage.open else "does not fetch"
            )


def passed(checks: Sequence[HealthCheck]) -> bool:
    return all(check.ok for check in checks)
