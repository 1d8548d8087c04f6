"""What a scrape says: read back by Prometheus' own parser."""

import re

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families

from shared.observe.distribution import Distribution
from shared.observe.metrics import (
    DeviceNumbers,
    MetricsSnapshot,
    StageNumbers,
    WebhookNumbers,
    render,
)
from shared.observe.progress import Progress

LABELS = {
    "stage",
    "outcome",
    "how",
    "operation",
    "le",
    "version",
    "services",
    "generation",
    "model",
    "webhook",
    "state",
}


def full() -> MetricsSnapshot:
    seconds, waited = Distribution((0.1, 1.0)), Distribution((0.5,))
    for value in (0.05, 0.5, 3.0):
        seconds.add(value)
    waited.add(0.25)
    progress = Progress(
        encoded=5, cached=7, overtaken=2, rows_written=11, rows_deleted=3, indexed=4
    )
    progress.freshness.add(0.2)
    return MetricsSnapshot(
        version="1.2",
        services="embedder",
        ready=True,
        generation="g1",
        model="m",
        connected=True,
        reconnects=2,
        stages={"embedder": StageNumbers(10, 2, 1, 6, 3, seconds, waited)},
        backlog={"embedder": 100},
        progress=progress,
        device=DeviceNumbers(1.5, 8, 20, 400, 450, 2),
        webhooks={
            "crm": WebhookNumbers(9, 4, 1, {"waiting": 3, "failing": 2, "dead": 1}),
            "elsewhere": WebhookNumbers(5, 0, 0),
        },
    )


def read(sample: MetricsSnapshot):
    """Every sample by name and labels."""
    text, _ = render(sample)
    return {
        (one.name, *sorted(one.labels.items())): one.value
        for family in families(text.decode())
        for one in family.samples
    }


def test_every_number_is_told_under_its_name():
    seen = read(full())
    stage = ("stage", "embedder")

    def deliveries(outcome):
        return seen["instep_stage_deliveries_total", ("outcome", outcome), stage]

    assert (deliveries("done"), deliveries("retried"), deliveries("buried")) == (10, 2, 1)
    assert seen["instep_stage_in_hand_messages", stage] == 6
    assert seen["instep_stage_fetch_restarts_total", stage] == 3
    assert seen["instep_backlog_messages", stage] == 100
    assert seen["instep_texts_total", ("how", "encoded")] == 5
    assert seen["instep_texts_total", ("how", "cached")] == 7
    assert seen["instep_texts_total", ("how", "overtaken")] == 2
    assert seen["instep_rows_total", ("operation", "written")] == 11
    assert seen["instep_rows_total", ("operation", "deleted")] == 3
    assert seen["instep_document_outcomes_total", ("outcome", "indexed")] == 4
    assert seen["instep_freshness_seconds_bucket", ("le", "0.25")] == 1
    assert seen["instep_freshness_seconds_bucket", ("le", "0.1")] == 0
    assert seen["instep_encode_busy_seconds_total",] == 1.5
    assert seen["instep_encode_padded_tokens_total",] == 450
    assert seen["instep_bus_reconnects_total",] == 2
    assert seen["instep_bus_connected",] == seen["instep_ready",] == 1
    assert seen["instep_build_info", ("services", "embedder"), ("version", "1.2")] == 1
    assert seen["instep_generation_info", ("generation", "g1"), ("model", "m")] == 1


def test_what_webhooks_have_sent_and_what_waits_is_told_by_the_process_that_sends():
    seen = read(full())

    def tries(webhook):
        name = "instep_webhook_deliveries_total"
        outcomes = ("done", "retried", "buried")
        return [seen[name, ("outcome", one), ("webhook", webhook)] for one in outcomes]

    assert (tries("crm"), tries("elsewhere")) == ([9, 4, 1], [5, 0, 0])
    assert {labels: many for (name, *labels_), many in seen.items()
            if name == "instep_webhook_events" for labels in [tuple(labels_)]} == {
        (("state", "waiting"), ("webhook", "crm")): 3,
        (("state", "failing"), ("webhook", "crm")): 2,
        (("state", "dead"), ("webhook", "crm")): 1,
    }  # fmt: skip


def test_a_histogram_counts_up_to_all():
    seen, stage = read(full()), ("stage", "embedder")

    buckets = [
        seen["instep_stage_duration_seconds_bucket", ("le", le), stage]
        for le in ("0.1", "1.0", "+Inf")
    ]
    assert buckets == [1, 2, 3]
    assert seen["instep_stage_duration_seconds_count", stage] == 3
    assert seen["instep_stage_duration_seconds_sum", stage] == 3.55


def test_before_the_bus_is_reached_there_is_something_to_scrape():
    seen = read(MetricsSnapshot("1.2", "gateway"))

    assert seen["instep_ready",] == seen["instep_bus_connected",] == 0
    later = ("instep_generation", "instep_encode", "instep_webhook")
    assert not any(name.startswith(later) for name, *_ in seen)


def test_names_and_labels_are_of_few_kinds():
    text, _ = render(full())
    found = list(families(text.decode()))
    ours = [family for family in found if family.name.startswith("instep_")]

    assert len(ours) + sum(family.name.startswith("process_") for family in found) == len(found)
    assert {label for family in ours for one in family.samples for label in one.labels} <= LABELS
    for family in ours:
        assert re.fullmatch(r"instep_[a-z]+(_[a-z]+)*", family.name)
        assert family.documentation
        if family.type == "counter":
            assert all(one.name.endswith("_total") for one in family.samples)
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


def test_openmetrics_is_spoken_to_who_asks_for_it():
    text, kind = render(full(), "application/openmetrics-text; version=1.0.0")

    assert kind.startswith("application/openmetrics-text")
    assert any(family.name == "instep_texts" for family in open_families(text.decode()))
