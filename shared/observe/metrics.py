"""The counters of a process in Prometheus's format; the only module that knows its client.

This module counts nothing: it reads the counters that the parts keep anyway, at each scrape. Labels
are stages, kinds and outcomes; never a document, path, batch or chunk.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isinf
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from shared.observe.distribution import Distribution
from shared.observe.progress import Progress


@dataclass(frozen=True, slots=True)
class StageNumbers:
    """The deliveries of one stage since the process started."""

    done: int
    retried: int
    buried: int
    in_hand: int
    restarts: int
    seconds: Distribution
    waited: Distribution


@dataclass(frozen=True, slots=True)
class DeviceNumbers:
    """The counters of the model since it was loaded."""

    busy_s: float
    calls: int
    texts: int
    tokens: int
    padded_tokens: int
    lost: int


@dataclass(frozen=True, slots=True)
class WebhookNumbers:
    """The tries of one webhook since the process started, and its events that wait.

    `events`: by state; empty while another process sends.
    """

    done: int
    retried: int
    buried: int
    events: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """All counters at one moment.

    `backlog`: messages that are not delivered yet, by stage, as far as the process can see them.
    `generation`, `model`: empty before they are known.
    """

    version: str
    services: str
    ready: bool = False
    generation: str = ""
    model: str = ""
    connected: bool = False
    reconnects: int = 0
    stages: Mapping[str, StageNumbers] = field(default_factory=dict)
    backlog: Mapping[str, int] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    device: DeviceNumbers | None = None
    webhooks: Mapping[str, WebhookNumbers] = field(default_factory=dict)


def render(sample: MetricsSnapshot, accept: str = "") -> tuple[bytes, str]:
    """The text of a scrape, and its content type.

    Args:
        accept: the header of the request; it may ask for OpenMetrics.
    """
    registry = CollectorRegistry()
    registry.register(_Families(sample))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Families(Collector):
    """The metric families of one sample."""

    def __init__(self, sample: MetricsSnapshot) -> None:
        self._sample = sample

    def collect(self) -> Iterator[Metric]:
        sample = self._sample
        yield from _process(sample)
        yield from _stages(sample.stages)
        backlog = ((name, many) for name, many in sample.backlog.items())
        yield _gauges("instep_backlog_messages", "Messages not delivered yet", "stage", backlog)
        yield from _documents(sample.progress)
        if sample.device is not None:
            yield from _device(sample.device)
        if sample.webhooks:
            yield from _webhooks(sample.webhooks)


def _process(sample: MetricsSnapshot) -> Iterator[Metric]:
    yield InfoMetricFamily(
        "instep_build",
        "Version, and what this process runs",
        value={"version": sample.version, "services": sample.services},
    )
    if sample.generation:
        yield InfoMetricFamily(
            "instep_generation",
            "The live generation, as this process sees it",
            value={"generation": sample.generation, "model": sample.model},
        )
    yield GaugeMetricFamily("instep_ready", "1: /readyz says so", value=sample.ready)
    yield GaugeMetricFamily("instep_bus_connected", "1: connected", value=sample.connected)
    yield CounterMetricFamily(
        "instep_bus_reconnects", "Connections to the bus after the first", value=sample.reconnects
    )


def _stages(stages: Mapping[str, StageNumbers]) -> Iterator[Metric]:
    yield _counters(
        "instep_stage_deliveries",
        "Deliveries that ended: done, to be repeated later, or a dead letter",
        ("stage", "outcome"),
        (
            ((name, outcome), getattr(stage, outcome))
            for name, stage in stages.items()
            for outcome in ("done", "retried", "buried")
        ),
    )
    in_hand = ((name, stage.in_hand) for name, stage in stages.items())
    yield _gauges(
        "instep_stage_in_hand_messages", "Messages held by this process", "stage", in_hand
    )
    yield _counters(
        "instep_stage_fetch_restarts",
        "How often fetching began anew after silence",
        ("stage",),
        (((name,), stage.restarts) for name, stage in stages.items()),
    )
    seconds = ((name, stage.seconds) for name, stage in stages.items())
    yield _histograms("instep_stage_duration_seconds", "Handling of a delivery", seconds)
    waited = ((name, stage.waited) for name, stage in stages.items())
    yield _histograms("instep_stage_wait_seconds", "Age of a message when first handled", waited)


def _documents(progress: Progress) -> Iterator[Metric]:
    yield _counters(
        "instep_document_outcomes",
        "Documents settled by this process",
        ("outcome",),
        (
            ((outcome,), getattr(progress, outcome))
            for outcome in ("indexed", "removed", "refused", "failed")
        ),
    )
    freshness = HistogramMetricFamily("instep_freshness_seconds", "From a change to searchable")
    _fill(freshness, (), progress.freshness)
    yield freshness
    yield _counters(
        "instep_texts",
        "Texts of chunks: encoded, found in the cache, or dropped because a newer change had come",
        ("how",),
        (((how,), getattr(progress, how)) for how in ("encoded", "cached", "overtaken")),
    )
    yield _counters(
        "instep_rows",
        "Rows of the store",
        ("operation",),
        ((("written",), progress.rows_written), (("deleted",), progress.rows_deleted)),
    )


def _device(device: DeviceNumbers) -> Iterator[Metric]:
    told: tuple[tuple[str, str, float], ...] = (
        ("busy_seconds", "Seconds in which the model was busy", device.busy_s),
        ("calls", "Calls of the model", device.calls),
        ("texts", "Texts that the model was called with", device.texts),
        ("tokens", "Tokens of these texts", device.tokens),
        ("padded_tokens", "Tokens computed, padding included", device.padded_tokens),
        ("lost_calls", "Calls that ended the process of the model", device.lost),
    )
    for name, text, value in told:
        yield CounterMetricFamily(f"instep_encode_{name}", text, value=value)


def _webhooks(webhooks: Mapping[str, WebhookNumbers]) -> Iterator[Metric]:
    yield _counters(
        "instep_webhook_deliveries",
        "Tries that ended: taken by the receiver, to be repeated later, or given up",
        ("webhook", "outcome"),
        (
            ((name, outcome), getattr(webhook, outcome))
            for name, webhook in webhooks.items()
            for outcome in ("done", "retried", "buried")
        ),
    )
    events = GaugeMetricFamily(
        "instep_webhook_events", "Events not delivered yet", labels=("webhook", "state")
    )
    for name, webhook in webhooks.items():
        for state, many in webhook.events.items():
            events.add_metric((name, state), many)
    yield events


def _counters(
    name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family


def _gauges(name: str, text: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for of, value in values:
        family.add_metric((of,), value)
    return family


def _histograms(name: str, text: str, values: Iterable[tuple[str, Distribution]]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=("stage",))
    for of, value in values:
        _fill(family, (of,), value)
    return family


def _fill(family: Any, labels: tuple[str, ...], seen: Distribution) -> None:
    buckets = [("+Inf" if isinf(bound) else str(bound), n) for bound, n in seen.cumulative()]
    family.add_metric(labels, buckets, seen.sum)
