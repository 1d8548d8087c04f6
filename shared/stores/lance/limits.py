"""How Lance is imported, limits on its threads and caches, and the translation of its errors."""

import asyncio
import importlib
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Final

from shared.domain.errors import QuestionRefused, StoreUnavailable

if TYPE_CHECKING:
    from lancedb import Session

INDEX_CACHE_BYTES: Final = 128 * 1024**2
METADATA_CACHE_BYTES: Final = 16 * 1024**2
"""Every commit leaves about 70 KB of its version here, and no call needs it again. The needed
entries of a table of 100,000 rows take 7 MB, and no call is slower than with 128. Lance's own
limits are gigabytes."""
IO_THREADS: Final = 4
"""Reads that one call of Lance has under way. Each is done by a thread of a pool of up to 512 that
keeps as many as were ever busy at one moment, for as long as there is work. Lance's own number is
8; with 1 it blocks for ever. Users with slow disks may need more, and may set it."""
MOST_QUERIES: Final = 8
CATALOGUES: Final = "lance_namespace_urllib3_client"
OVERRIDES: Final = "overrides"
STOOD_IN: Final = (CATALOGUES, OVERRIDES)
"""Packages that are not imported with lancedb."""


def configure() -> None:
    """Set the environment of Lance and Arrow, which they read when they are imported.

    Arrow's own allocator keeps what its threads once had: 93 MB after 15 minutes of edits.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    os.environ.setdefault("LANCEDB_LOG", "error")  # it warns on stderr about its own defaults
    os.environ.setdefault("LANCE_IO_THREADS", str(IO_THREADS))


class _Unused(MetaPathFinder, Loader):
    """Finds every module of a package, and gives it an empty class for each name that is taken."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        ours = name.partition(".")[0] == self._package
        return ModuleSpec(name, self, is_package=True) if ours else None

    def exec_module(self, module: ModuleType) -> None:
        def named(name: str) -> type:
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {})

        vars(module)["__getattr__"] = named


def _overrides() -> ModuleType:
    """What lancedb has instead of the package `overrides` from Python 3.12 on.

    The package compares each method with those of the base classes, from their source.
    """
    made = ModuleType(OVERRIDES)
    vars(made).update(override=lambda method: method, EnforceOverrides=object)
    return made


def load() -> None:
    """Import lancedb without its client of remote catalogues and the checks of its own classes.

    The models and calls of that client take half of the import, and instep uses none. lancedb names
    them in annotations, and is given empty classes of those names.
    """
    if {"lancedb", *STOOD_IN} & sys.modules.keys():
        importlib.import_module("lancedb")
        return
    unused = _Unused(CATALOGUES)
    sys.meta_path.insert(0, unused)
    sys.modules[OVERRIDES] = _overrides()
    try:
        importlib.import_module("lancedb")
    finally:
        sys.meta_path.remove(unused)
        # another thread may import something meanwhile: a copy is made in one step
        for name in [name for name in tuple(sys.modules) if name.partition(".")[0] in STOOD_IN]:
            del sys.modules[name]


def session() -> "Session":
    """Caches for one connection."""
    import lancedb

    return lancedb.Session(INDEX_CACHE_BYTES, METADATA_CACHE_BYTES)


def queries_at_once(cores: int | None) -> int:
    """How many queries may run together. Pure. More than cores only wait for one another.

    Args:
        cores: of the machine, None when not known.
    """
    return min(MOST_QUERIES, max(2, cores or 0))


class QuerySlots:
    """Lets so many queries run at once; a burst of searches would take hundreds of threads."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(queries_at_once(os.cpu_count()))

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Raises StoreUnavailable for Lance's errors meanwhile."""
        async with self._places:
            with translated():
                yield

    @asynccontextmanager
    async def question(self) -> AsyncIterator[None]:
        """The same for a query that a person words: QuestionRefused where that is the fault."""
        async with self._places:
            with translated(refuses=True):
                yield


@contextmanager
def translated(*, refuses: bool = False) -> Iterator[None]:
    """Translate the errors of Lance into ours.

    Args:
        refuses: a value that Lance cannot take came with the question.

    Raises:
        QuestionRefused: such a value, if `refuses`.
        StoreUnavailable: Lance raises these four, told apart by text only; all may pass.
    """
    try:
        yield
    except (RuntimeError, OSError, ValueError, TimeoutError) as error:
        if refuses and is_refusal(error):
            raise QuestionRefused("the vector store cannot take this question") from error
        raise StoreUnavailable(f"LanceDB: {str(error)[:300]}") from error


def is_refusal(error: Exception) -> bool:
    """Whether Lance refuses a value, so that another question may be answered. Pure.

    A table of other columns gives the same error, which is not a fault of the question.
    """
    if isinstance(error, UnicodeError):
        return True
    said = str(error).lower()
    return isinstance(error, ValueError) and "invalid" in said and "schema error" not in said
