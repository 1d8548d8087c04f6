"""What messages of object storage say about keys; they are hints, and may hold anything."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.producer.sources.bucket.events import BucketHints, keys_of
from shared.settings import BucketSettings


def record(key, bucket="docs"):
    return {
        "eventName": "s3:ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key}},
    }


def message(*records):
    return json.dumps({"Records": records}).encode()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param("a/b.md", {"a/b.md"}, id="plain"),
        pytest.param("a/b ü+c.md", {"a/b ü+c.md", "a/b ü c.md"}, id="raw, as versitygw spells it"),
        pytest.param(
            "a/b+%C3%BC%2Bc.md", {"a/b+%C3%BC%2Bc.md", "a/b ü+c.md"}, id="as AWS spells it"
        ),
    ],
)
def test_a_key_is_read_raw_and_decoded(key, expected):
    assert keys_of(message(record(key)), "docs", "") == expected


def test_only_keys_below_the_prefix_of_the_bucket_are_named_and_relative_to_it():
    told = message(
        record("team/a.md"), record("teams/b.md"), record("c.md"), record("team/d.md", bucket="x")
    )

    assert keys_of(told, "docs", "team") == {"a.md"}
    assert keys_of(told, "docs", "team") == {"a.md"}


def test_events_of_eventbridge_are_read_too():
    told = {
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": "docs"}, "object": {"key": "a.md"}},
    }

    assert keys_of(json.dumps(told).encode(), "docs", "") == {"a.md"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Records", "s3", "bucket", "name", "object", "key", "detail"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.one_of(st.binary(max_size=40), json_values.map(lambda one: json.dumps(one).encode())))
def test_any_message_names_keys_or_none_and_breaks_nothing(told):
    assert all(isinstance(key, str) for key in keys_of(told, "docs", ""))


def test_the_prefix_of_an_address_is_read_as_the_client_reads_it():
    settings = BucketSettings(kind="bucket", url="s3://docs")
    hints = BucketHints("s3://docs/my%20team/", settings, None)

    assert keys_of(message(record("my team/a.md")), hints._bucket, hints._prefix) == {"a.md"}


@pytest.mark.parametrize(
    ("watch", "came", "took_s", "next_s"),
    [
        ("auto", False, 0.01, 2),
        ("auto", False, 10, 200),
        ("auto", True, 0.01, 5),
        ("auto", True, 10, 200),
        ("events", False, 0.01, 5),
        ("events", False, 10, 200),
    ],
)
async def test_listing_takes_a_small_part_of_the_time_however_short_its_interval(
    watch, came, took_s, next_s
):
    settings = BucketSettings(kind="bucket", url="s3://docs", watch=watch, poll=2.0, rescan=5.0)
    hear = []

    async def subscribe(heard):
        hear.append(heard)

    hints = BucketHints("s3://docs", settings, subscribe)
    await hints.start(lambda keys: None)
    if came:
        hear[0](message(record("a.md")))

    assert hints.interval(took_s, waits=False) == pytest.approx(next_s)
