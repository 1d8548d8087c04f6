"""Checks of `doctor` and `validate` as lines. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.cli.exits import with_fix
from services.cli.terminal import Terminal, plural

STYLES: Final = {"ok": "green", "WARN": "yellow", "FAIL": "red"}


def lines(checks: Sequence[Mapping[str, Any]], terminal: Terminal) -> list[str]:
    """`ok    …`, `WARN  … Fix: …`, and how many of each at the end."""
    found = []
    for check in checks:
        word = terminal.paint(f"{check['level']:<4}", STYLES[check["level"]])
        fix = "" if check["level"] == "ok" else check["fix"]
        found.append(f"{word}  {with_fix(check['text'], fix)}")
    return [*found, total(checks)]


def total(checks: Sequence[Mapping[str, Any]]) -> str:
    """`1 failure, 1 warning`, or that all is well."""
    failures = sum(check["level"] == "FAIL" for check in checks)
    warnings = sum(check["level"] == "WARN" for check in checks)
    if not failures and not warnings:
        return f"all is well ({plural(len(checks), 'check')})"
    words = [plural(failures, "failure")] if failures else []
    return ", ".join([*words, *([plural(warnings, "warning")] if warnings else [])])
