"""The names inside FastStream and nats-py that the bus replaces or reads."""

import ast
import inspect
from pathlib import Path

import pytest
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.nats.subscriber.usecases import PullStreamSubscriber
from nats.aio.client import Client
from nats.js import JetStreamContext

import shared.bus

BUS = Path(shared.bus.__path__[0])
SOURCES = sorted(BUS.rglob("*.py"))


@pytest.mark.parametrize("name", ["_create_subscription", "_consume_pull", "add_task", "consume"])
def test_faststream_still_has_the_methods_that_are_replaced_or_called(name):
    assert inspect.iscoroutinefunction(getattr(PullStreamSubscriber, name)) or name == "add_task"


def test_faststream_lets_a_subscriber_have_methods_of_its_own():
    subscriber = NatsBroker().subscriber(
        "x", stream=JStream("S", declare=False), durable="d", pull_sub=PullSub()
    )

    assert "subscription" in vars(subscriber)
    assert subscriber.subscription is None


def test_the_client_still_calls_the_error_callback_that_is_replaced():
    assert "_error_cb" in inspect.getsource(Client._attempt_reconnect)


def test_the_context_still_knows_its_client():
    assert "_nc" in inspect.getsource(JetStreamContext.__init__)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(BUS).as_posix())
def test_nothing_is_published_without_an_acknowledgement_in_sight(source):
    calls = [
        node.func
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]

    assert not [call.lineno for call in calls if call.attr in ("publish_async", "ack_sync")]
    assert not [
        call.lineno
        for call in calls
        if call.attr == "publish"
        and isinstance(call.value, ast.Attribute)
        and call.value.attr == "_broker"
    ]
