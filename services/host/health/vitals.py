"""The vital signs of a process that runs services."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from services.host.runtime import Shutdown
from services.host.startup import Waits
from services.host.wiring import OpenGeneration
from shared.bus.delivery.consume import Consumer
from shared.observe.health import Sight, StageSight

log = structlog.get_logger()


@dataclass
class Vitals:
    """The vital signs of this process.

    `names`: the services that it runs. `opened`: None until the bus was reached.
    """

    names: Sequence[str]
    stop: Shutdown
    waits: Waits = field(default_factory=Waits)
    opened: OpenGeneration | None = None
    serving: bool = False

    def begin(self, opened: OpenGeneration) -> None:
        """The services take messages from now on."""
        self.opened, self.serving = opened, True
        log.info("serving", services=list(self.names), generation=opened.generation.id)

    def sight(self) -> Sight:
        """The observations that `shared.observe.health` judges."""
        session = self.opened.host.session if self.opened else None
        return Sight(
            serving=self.serving,
            stopping=self.stop.event.is_set(),
            failed=type(self.stop.error).__name__ if self.stop.error else "",
            waits={**(self.opened.loading() if self.opened else {}), **self.waits.reasons},
            connected=session.client.is_connected if session else None,
            stages=[_seen(name, one) for name, one in self.consumers().items()],
        )

    def consumers(self) -> dict[str, Consumer[Any]]:
        """By the name of the stage, without its generation."""
        if self.opened is None:
            return {}
        end = f"_{self.opened.generation.id}"
        return {n.removesuffix(end): one for n, one in self.opened.host.session.stages.items()}


def _seen(name: str, consumer: Consumer[Any]) -> StageSight:
    pull = consumer.pull
    return StageSight(
        name=name,
        open=pull.open,
        receives=pull.healthy(),
        turned_s=time.monotonic() - pull.turned_at,
        fatal=str(pull.fatal) if pull.fatal else "",
    )
