"""A webhook's record loses no event, and its signature is that of Standard Webhooks."""

import hashlib
import hmac
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_results import indexed

from services.gateway.events.views import view_of
from services.gateway.webhooks import record as module
from services.gateway.webhooks.record import (
    LONGEST_PAUSE_S,
    MOST_OPEN,
    TRIES,
    WebhookRecord,
    packed,
    pause_s,
    unpacked,
)
from services.gateway.webhooks.signature import (
    body_of,
    headers_of,
    id_of,
    secret_bytes,
    signature,
)
from shared.ports import StoredResult

STEPS = st.lists(
    st.tuples(
        st.sampled_from(("take", "skip", "deliver", "fail", "gone", "again", "within", "store")),
        st.integers(0, 40),
    ),
    max_size=80,
)


def test_the_signature_is_that_of_the_vector_of_standard_webhooks():
    key = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(min_size=16, max_size=64), st.binary(max_size=99), st.integers(0, 2**33))
def test_the_headers_sign_id_time_and_body(key, body, at):
    headers = headers_of(key, "g-1-2", at, body)

    signed = hmac.new(key, b"g-1-2." + str(at).encode() + b"." + body, hashlib.sha256).digest()
    assert b64decode(headers["webhook-signature"].removeprefix("v1,")) == signed
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("g-1-2", str(at))


@pytest.mark.parametrize(
    "secret", ["short", "whsec_AAAA", "whsec_no base64 at all!!!!!!", "whsec_é"]
)
def test_a_bad_secret_is_refused_without_repeating_it(secret):
    with pytest.raises(ValueError, match=r"base64|16 bytes") as refused:
        secret_bytes(secret)
    assert secret not in str(refused.value)


def test_a_body_is_the_event_with_its_type_and_id():
    event = indexed(3)
    view = view_of(StoredResult(7, event.subject, event.model_dump_json().encode()))

    body = body_of(view, 7)

    assert body.startswith(b'{"type":"document","id":7,"generation":"g","source":"docs"')
    assert id_of(view, 7) == id_of(view, 7) != id_of(view, 8)
    assert "." not in id_of(view, 7)


@given(STEPS)
def test_every_wanted_event_is_delivered_or_kept_or_counted_as_lost(steps):
    """Each step of a process, in any order; `store` is a restart."""
    record, delivered, lost, now = WebhookRecord(position=0), set[int](), 0, 0.0
    for what, n in steps:
        now += 1
        before = record
        match what:
            case "take" | "skip":
                record = record.passed(record.position + 1, wanted=what == "take")
            case "deliver":
                record = record.delivered_to(n)
                delivered |= {n} & before.open.keys()
            case "fail":
                for _ in range(TRIES if n % 3 else 1):
                    record = record.failed(n, "status 500", now, 0.5)
            case "gone":
                record = record.gone(n)
            case "again":
                record, events = record.again(now)
                assert events >= len(before.dead)
                assert not record.dead
            case "within":
                record = record.within(min(n, record.position + 1), record.position)
            case "store":
                record = unpacked(packed(record))
        gone = (before.open.keys() | before.dead.keys()) - record.open.keys() - record.dead.keys()
        lost += len(gone - delivered)
        assert (record.delivered, record.lost) == (len(delivered), lost)
        assert not record.open.keys() & record.dead.keys()


def test_an_event_is_given_up_after_its_tries_and_four_hours():
    record = WebhookRecord(position=1, open={1: {}})
    now = 0.0
    for tried in range(1, TRIES + 1):
        assert record.due(now) == [1], tried
        record = record.failed(1, "status 500", now, 0.5)
        now = record.open[1].due_at if record.open else now

    assert (list(record.dead), record.open, record.dead[1].error) == ([1], {}, "status 500")
    assert 3.5 * 3600 < now < 4.5 * 3600


def test_pauses_double_up_to_a_quarter_of_an_hour_and_are_spread():
    assert [pause_s(n, 0.5) for n in (1, 2, 3, 11, 26, 10**6)] == [1, 2, 4, 900, 900, 900]
    assert pause_s(99, 0.0) == pytest.approx(0.8 * LONGEST_PAUSE_S)
    assert pause_s(99, 1.0) == pytest.approx(1.2 * LONGEST_PAUSE_S)


def test_where_no_more_can_be_kept_as_given_up_events_go_on_waiting(monkeypatch):
    monkeypatch.setattr(module, "MOST_DEAD", 1)
    waiting = {"tries": TRIES - 1}
    record = WebhookRecord(position=2, open={1: waiting, 2: waiting})

    for n in (1, 2):
        record = record.failed(n, "status 500", 0.0, 0.5)

    assert (list(record.dead), record.open[2].tries) == ([1], TRIES)


def test_new_events_are_taken_up_to_a_limit_and_go_before_those_that_failed():
    record = WebhookRecord(position=0)
    for n in range(1, MOST_OPEN + 1):
        record = record.passed(n, wanted=True)
    record = record.failed(1, "status 500", 0.0, 0.5)

    assert (record.room, record.failing) == (0, 1)
    assert record.due(0.0) == list(range(2, MOST_OPEN + 1))
    assert record.due(5.0)[-1] == 1


def test_a_stream_that_was_made_anew_is_sent_from_its_start():
    record = WebhookRecord(position=9, open={8: {}}, dead={3: {"at": 1.0, "error": "status 500"}})

    assert record.within(1, 4) == WebhookRecord(position=0, lost=2)
    assert record.within(4, 9).lost == 1
    assert WebhookRecord(position=2).within(6, 9) == WebhookRecord(position=5, lost=3)
    assert record.within(1, 9) is record


def test_garbage_is_no_record():
    assert unpacked(b'{"position": -1}') is None
    assert unpacked(b"\xff") is None
    assert unpacked(b'{"position": 4, "of_a_later_version": 1}') == WebhookRecord(position=4)
