"""9. What the manual says of services that run alone is what they answer."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from services.host import runtime
from services.host.startup import FIRST_PAUSE_S, LONGEST_PAUSE_S
from shared.observe.distribution import FRESHNESS_S, Distribution
from shared.observe.health import WEDGED_AFTER_S
from shared.observe.metrics import (
    DeviceNumbers,
    MetricsSnapshot,
    StageNumbers,
    WebhookNumbers,
    render,
)
from shared.settings import Settings

PAGE = (Path(__file__).parents[2] / "examples/docs/operate/services.md").read_text()
TELLS_ALL = MetricsSnapshot(
    version="1",
    services="embedder",
    generation="g",
    model="m",
    stages={"embedder": StageNumbers(0, 0, 0, 0, 0, Distribution((1.0,)), Distribution((1.0,)))},
    backlog={"embedder": 0},
    device=DeviceNumbers(0, 0, 0, 0, 0, 0),
    webhooks={"crm": WebhookNumbers(0, 0, 0, {"waiting": 0, "failing": 0, "dead": 0})},
)


def told():
    """Name, kind and labels of every metric in the manual."""
    rows = re.findall(r"^\| `(instep_\w+)` \| (\w+) \| ([^|]*)\|", PAGE, re.MULTILINE)
    return {(name, kind, frozenset(re.findall(r"`(\w+)`", of))) for name, kind, of in rows}


def scraped():
    """The same of a process that has all of them."""
    for family in text_string_to_metric_families(render(TELLS_ALL)[0].decode()):
        if family.name.startswith("instep_"):
            labels = {label for one in family.samples for label in one.labels} - {"le"}
            end = "_total" if family.type == "counter" else ""
            yield family.name + end, family.type, frozenset(labels)


def test_the_manual_tells_every_metric_with_its_labels_and_no_other():
    assert told() == set(scraped())


def test_the_outcomes_that_the_manual_tells_are_those_that_are_counted():
    values = {
        one.labels[label]
        for family in text_string_to_metric_families(render(TELLS_ALL)[0].decode())
        for one in family.samples
        for label in ("outcome", "how", "operation", "state")
        if label in one.labels
    }
    table = PAGE.split("## Metrics")[1].split("What to look at first")[0]

    assert {value for value in values if f"`{value}`" not in table} == set()


def test_the_times_that_the_manual_tells_are_those_of_the_code():
    drain = Settings().bus.drain

    assert f"at most `bus.drain` ({drain:.0f} s)" in PAGE
    assert drain + runtime.LEAVE_S < 30
    assert runtime.LEAVE_S == 8  # "Eight seconds after that"
    assert (FIRST_PAUSE_S, LONGEST_PAUSE_S) == (0.25, 8)  # "from a quarter of a second to eight"
    assert f"not turned for {WEDGED_AFTER_S:.0f} seconds" in PAGE
    assert 60.0 in FRESHNESS_S  # the example of a query asks for it
