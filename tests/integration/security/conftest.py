"""Servers with keys."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from keyed_bus import KeyedServer


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[KeyedServer]:
    """A server of its own, with a key for every service and one for the source `wiki`."""
    server = KeyedServer(tmp_path / "bus", sources=["wiki"])
    server.make_keys()
    server.start()
    yield server
    server.stop()
