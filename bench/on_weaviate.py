"""An empty Weaviate for a bench: the one of the tests (a container, or an executable)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))


@contextmanager
def server(folder: Path) -> Iterator[Any]:
    """Where it is reached: url, grpc, key. A server of the machine that `INSTEP_TEST_WEAVIATE`
    names is taken as it is, with what lies on it.
    """
    import weaviate_server

    with weaviate_server.reach(folder) as reached:
        yield reached


@contextmanager
def weaviate(folder: Path) -> Iterator[dict[str, str]]:
    """The settings of an instance that keeps its index there."""
    with server(folder) as reached:
        yield settings(reached.url, reached.grpc, reached.key)


def settings(url: str, grpc: str | None, key: str | None = None) -> dict[str, str]:
    found = {"INSTEP_STORE__KIND": "weaviate", "INSTEP_STORE__WEAVIATE__URL": url}
    found |= {"INSTEP_STORE__WEAVIATE__GRPC": grpc} if grpc else {}
    return found | ({"INSTEP_STORE__WEAVIATE__KEY": key} if key else {})
