"""No event loop outside of tests.

Before an async test, and in a sync one, plugins ask for the current loop; unless told that there
is none, Python 3.11 makes one, which nobody closes.
"""

import asyncio

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_stray_event_loop() -> None:
    asyncio.set_event_loop(None)
