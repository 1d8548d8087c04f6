"""What JetStream is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.admin.configs import bucket_config, consumer_config, difference, stream_config
from shared.domain.services import consumers
from shared.domain.topology import BUCKETS, STREAMS, ledger_bucket

STAGES = consumers("g1")


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_consumers_have_no_backoff_because_it_would_replace_ack_wait(stage):
    config = consumer_config(stage)

    assert "backoff" not in config
    assert config["ack_wait"] == stage.ack_wait_s * 1e9


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_the_server_gives_up_later_than_we_do_or_never(stage):
    most = consumer_config(stage)["max_deliver"]

    assert most == -1 if stage.attempts is None else most > stage.attempts


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_replica_can_hold_its_messages(stage):
    config = consumer_config(stage)

    assert config["max_ack_pending"] >= stage.prefetch * stage.replicas


def test_orders_start_at_the_clock_and_below_what_json_can_carry():
    configs = {c["name"]: c for c in map(stream_config, STREAMS)}
    configs |= {c["name"]: c for c in map(bucket_config, (*BUCKETS, ledger_bucket("g1")))}

    by_clock = {name for name, config in configs.items() if "first_seq" in config}

    assert by_clock == {"INTAKE", "DOCS", "KV_ledger_g1"}
    assert all(1_600_000_000_000_000 < configs[name]["first_seq"] < 2**53 for name in by_clock)


def test_only_the_cache_and_the_notes_about_trouble_may_forget():
    buckets = (*BUCKETS, ledger_bucket("g1"))
    configs = {bucket.name: bucket_config(bucket) for bucket in buckets}

    assert {name for name, c in configs.items() if c["discard"] == "old"} == {
        "embcache",
        "troubles",
    }
    assert {name for name, c in configs.items() if "persist_mode" in c} == {"embcache"}


fields = st.dictionaries(
    st.sampled_from("abcd"), st.none() | st.integers(0, 2) | st.booleans(), max_size=4
)


@given(fields, fields)
def test_applying_the_difference_leaves_none(have, want):
    changed = have | {name: value for name, (_, value) in difference(have, want).items()}

    assert difference(changed, want) == {}


@given(fields, fields)
def test_fields_that_we_do_not_set_are_never_touched(have, want):
    assert difference(have, want).keys() <= want.keys()
