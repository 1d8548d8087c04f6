"""Logs for machines: every line is JSON, those of libraries, too."""

import json
import logging

import pytest
import structlog

from shared.observe import logs
from shared.settings import Telemetry


@pytest.fixture(autouse=True)
def as_before():
    root, config = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
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


@pytest.fixture
def to_file(tmp_path):
    heard = []
    logs.configure_file(
        Telemetry(), tmp_path / "instep.log", lambda event, reason: heard.append((event, reason))
    )
    return tmp_path / "instep.log", heard


def test_beside_the_lines_of_a_person_everything_goes_to_a_file(to_file, capsys):
    file, _ = to_file
    structlog.get_logger().warning("not_swept", reason="the store does not answer")
    try:
        raise KeyError("x")
    except KeyError:
        structlog.get_logger().exception("broke")
        logging.getLogger("asyncio").exception("Task exception was never retrieved")

    lines = [json.loads(line) for line in file.read_text().splitlines()]
    events = [line["event"] for line in lines]
    assert events == ["not_swept", "broke", "Task exception was never retrieved"]
    assert all("KeyError" in line["exception"] for line in lines[1:])
    assert capsys.readouterr() == ("", "")


def test_what_is_wrong_is_told_with_its_reason_and_nothing_of_what_libraries_say(to_file):
    _, heard = to_file
    log = structlog.get_logger()
    log.info("begun", reason="so")
    log.warning("fetch_not_sent", error="TimeoutError")
    log.warning("not_swept", reason="the store does not answer")
    log.error("handler_broke", error="KeyError in f:1")
    logging.getLogger("library").warning("the text of a document")
    logging.getLogger("library").error("the text of a document")

    told = [("not_swept", "the store does not answer"), ("handler_broke", ""), ("a library", "")]
    assert heard == told


def test_a_log_that_cannot_be_written_is_no_traceback(tmp_path, capsys):
    logs.configure_file(Telemetry(), tmp_path / "no folder" / "log", lambda event, reason: None)
    structlog.get_logger().warning("odd")

    assert capsys.readouterr() == ("", "")


def test_a_level_that_is_set_counts_for_the_file_too(tmp_path):
    logs.configure_file(Telemetry(level="info"), tmp_path / "log", lambda event, reason: None)
    structlog.get_logger("services.host.up").info("begun")

    assert "begun" in (tmp_path / "log").read_text()
