"""Processors and child processes."""

import asyncio
import contextlib
import os
import signal
import sys


def processors() -> int:
    """How many this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def send(process: asyncio.subprocess.Process, signum: signal.Signals) -> None:
    """Send a signal to a child; one that has ended is left alone.

    `Process.kill` and `send_signal` first collect the exit status of a child that has just died.
    The loop, which waits for the same status, then reports 255 and complains in the log.
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signum)
