"""What became of the deliveries of one stage, for metrics."""

from dataclasses import dataclass, field

from shared.observe.distribution import HANDLING_S, WAITING_S, Distribution


@dataclass(slots=True)
class Counts:
    """Deliveries of one stage by their end, since the process started."""

    acked: int = 0
    retried: int = 0
    buried: int = 0
    passed: int = 0
    """Acknowledged without being opened, beside those: the consumer of another stage has them."""
    seconds: Distribution = field(default_factory=lambda: Distribution(HANDLING_S))
    """From the start of a delivery to its settlement."""
    waited: Distribution = field(default_factory=lambda: Distribution(WAITING_S))
    """From the first storing of a message to the start of its first delivery, in seconds."""
