"""Structured logs: one event name and keys; text for a terminal, JSON for machines, on stderr."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from shared.settings import Telemetry

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(telemetry: Telemetry, *, service: str = "") -> None:
    """Set up logging of the process; the last call wins.

    Args:
        service: what the process is, said in every line; such a process also says by default
            how it gets on, and not only what is wrong.
    """
    as_json = telemetry.log == "json" or (telemetry.log == "auto" and not sys.stderr.isatty())
    level = LEVELS.get(telemetry.level, LEVELS["info" if service else "warning"])

    def named(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {**event, "service": service} if service else event

    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        named,
        structlog.processors.format_exc_info,
    ]
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
    # libraries speak only when something is wrong
    handler = logging.StreamHandler(sys.stderr)
    if as_json:
        clean = structlog.stdlib.ProcessorFormatter.remove_processors_meta
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                processors=[clean, last], foreign_pre_chain=processors
            )
        )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
