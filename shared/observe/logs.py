"""Structured logs: one event name and keys; text for a terminal, JSON for machines, on stderr.

While a person reads a view, they go to a file, and the view shows faults as sentences.
"""

import logging
import sys
from collections.abc import Callable, MutableMapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final

import structlog

from shared.settings import Telemetry

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
FILE_BYTES: Final = 4 * 1024**2
"""Of a log file; the one before it is kept, too."""

Hear = Callable[[str, str], None]
"""Called with the name of an event that reports a fault, and its reason in a sentence, or ""."""


def configure(telemetry: Telemetry, *, service: str = "") -> None:
    """Set up logging of the process; the last call wins.

    Args:
        service: the name of the process, in every line; such a process also logs its progress by
            default, not only faults.
    """
    as_json = telemetry.log == "json" or (telemetry.log == "auto" and not sys.stderr.isatty())
    level = LEVELS.get(telemetry.level, LEVELS["info" if service else "warning"])

    def named(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {**event, "service": service} if service else event

    processors = [*_COMMON, named, structlog.processors.format_exc_info]
    colors = not as_json and sys.stderr.isatty()
    last: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=colors)
    )
    structlog.configure(
        processors=[*processors, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    if as_json:
        handler.setFormatter(_formatter(processors))
    _take_libraries(handler, level)


def configure_file(telemetry: Telemetry, file: Path, hear: Hear) -> None:
    """Set up logging of a process whose standard error a person reads: JSON, into a file.

    Args:
        hear: called with warnings that have a `reason`, and with every error.
    """
    level = LEVELS.get(telemetry.level, LEVELS["warning"])

    def tell(_: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        reason, grave = str(event.get("reason", "")), LEVELS.get(method, LEVELS["error"])
        if grave >= LEVELS["error"] or (grave >= LEVELS["warning"] and reason):
            hear(str(event["event"]), reason)
        return event

    def tell_of_library(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR and not isinstance(record.msg, dict):
            hear("a library", "")  # its text may quote a document
        return True

    processors = [*_COMMON, structlog.processors.format_exc_info]
    structlog.configure(
        processors=[tell, *processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    for ours in ("services", "shared"):
        logging.getLogger(ours).setLevel(level)
    handler = _File(file, maxBytes=FILE_BYTES, backupCount=1, delay=True, encoding="utf-8")
    handler.setFormatter(_formatter(processors))
    handler.addFilter(tell_of_library)
    _take_libraries(handler, level)


_COMMON: Final[list[Any]] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
]


class _File(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A log that cannot be written, as on a full disk, is no reason to print a traceback."""


def _formatter(processors: list[Any]) -> logging.Formatter:
    clean = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    return structlog.stdlib.ProcessorFormatter(
        processors=[clean, structlog.processors.JSONRenderer()], foreign_pre_chain=processors
    )


def _take_libraries(handler: logging.Handler, level: int) -> None:
    """Libraries log only warnings and errors."""
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
