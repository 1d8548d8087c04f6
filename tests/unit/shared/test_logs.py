"""Logs for machines: every line is JSON, those of libraries, too."""

import json
import logging

import pytest
import structlog

from shared import logs
from shared.settings import Telemetry


@pytest.fixture(autouse=True)
def as_before():
    root, config = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**config)


def told(capsys):
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_every_line_is_json_with_the_name_of_the_service(capsys):
    logs.configure(Telemetry(log="json"), service="embedder")
    structlog.get_logger().info("serving", generation="g1")
    logging.getLogger("nats.aio.client").warning("a library says %s", "so")

    ours, theirs = told(capsys)
    assert ours["event"] == "serving"
    assert ours["generation"] == "g1"
    assert theirs["event"] == "a library says so"
    assert ours["service"] == theirs["service"] == "embedder"
    assert ours["ts"]
    assert theirs["level"] == "warning"


def test_what_is_not_a_terminal_gets_json(capsys):
    logs.configure(Telemetry())
    structlog.get_logger().warning("odd")

    assert told(capsys)[0]["event"] == "odd"


@pytest.mark.parametrize(("service", "said"), [("", ["late"]), ("indexer", ["begun", "late"])])
def test_a_service_says_how_it_gets_on_and_a_command_only_what_is_wrong(capsys, service, said):
    logs.configure(Telemetry(), service=service)
    log = structlog.get_logger()
    log.info("begun")
    log.warning("late")

    assert [line["event"] for line in told(capsys)] == said


def test_a_level_that_is_set_counts_for_all(capsys):
    logs.configure(Telemetry(level="error"), service="indexer")
    structlog.get_logger().warning("late")

    assert told(capsys) == []
