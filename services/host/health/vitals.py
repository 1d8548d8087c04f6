"""The vital signs of a process that runs services."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from services.host.runtime import Shutdown
from services.host.startup import Waits
from services.host.wiring import Wiring
from shared.bus.delivery.consume import Consumer
from shared.observe.health import Sight, StageSight

log = structlog.get_logger()


@dataclass
class Vitals:
    """The vital signs of this process.

    `names`: the services that it runs. `wiring`: None until the bus was reached.
    """

    names: Sequence[str]
    stop: Shutdown
    waits: Waits = field(default_factory=Waits)
    wiring: Wiring | None = None
    serving: bool = False

    def begin(self, wiring: Wiring) -> None:
        """The services take messages from now on."""
        self.wiring, self.serving = wiring, True
        log.info("serving", services=list(self.names), generation=wiring.generation.id)

    def sight(self) -> Sight:
        """The observations that `shared.observe.health` judges."""
        session = self.wiring.session if self.wiring else None
        return Sight(
            serving=self.serving,
            stopping=self.stop.event.is_set(),
            failed=type(self.stop.error).__name__ if self.stop.error else "",
            waits={**(self.wiring.loading() if self.wiring else {}), **self.waits.reasons},
            connected=session.client.is_connected if session else None,
            stages=[_seen(name, one) for name, one in self.consumers().items()],
        )

    def consumers(self) -> dict[str, Consumer[Any]]:
        """By the name of the stage, without its generation."""
        if self.wiring is None:
            return {}
        end = f"_{self.wiring.generation.id}"
        return {n.removesuffix(end): one for n, one in self.wiring.session.stages.items()}


def _seen(name: str, consumer: Consumer[Any]) -> StageSight:
    pull = consumer.pull
    return StageSight(
        name=name,
        open=pull.open,
        receives=pull.healthy(),
        turned_s=time.monotonic() - pull.turned_at,
        fatal=str(pull.fatal) if pull.fatal else "",
    )
