"""Structured logs: one event name and keys; text for a terminal, JSON for machines, on stderr."""

import logging
import sys
from typing import Any

import structlog

from shared.settings import Telemetry

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(telemetry: Telemetry) -> None:
    """Set up logging of the process; the last call wins."""
    as_json = telemetry.log == "json" or (telemetry.log == "auto" and not sys.stderr.isatty())
    level = LEVELS[telemetry.level]
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
    ]
    if as_json:
        processors.append(structlog.processors.JSONRenderer())
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # libraries speak only when something is wrong
    logging.basicConfig(level=max(level, logging.WARNING), stream=sys.stderr, force=True)
