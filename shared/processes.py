"""Signals to child processes of the event loop."""

import asyncio
import contextlib
import os
import signal


def send(process: asyncio.subprocess.Process, signum: signal.Signals) -> None:
    """Send a signal to a child; one that has ended is left alone.

    `Process.kill` and `send_signal` first collect the exit status of a child that has just died.
    The loop, which waits for the same status, then reports 255 and complains in the log.
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signum)
