"""The process that answers searches for `instep up` (`services.gateway.search.apart`).

It reads store and ledger as a gateway in a container does; its parent encodes the questions. It
ends with its parent, or when the bus is lost for good.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import BinaryIO

from services.gateway.build import looks_of, search_of
from services.gateway.problems import Problem
from services.gateway.search.apart import (
    MOST_BYTES,
    READY,
    SERVING,
    ServedInstance,
    answered,
    number_of,
    read_asked,
)
from services.gateway.search.search import Search
from services.host import runtime
from services.host.memory import keep_small, tame_heap
from services.host.wiring import Host, cancel_all
from shared.bus.access.connect import access_of
from shared.bus.access.permissions import ADMIN
from shared.bus.session import BusSession
from shared.domain.errors import EncoderBusy, InstepError
from shared.observe import logs
from shared.observe.progress import Progress
from shared.ports import Encoder
from shared.sandbox import frames
from shared.sandbox.inside import confine, pipes


def main(of_parent: str) -> None:
    """Answer questions until standard input ends.

    Args:
        of_parent: version of instep. Another one would take the index for damaged.
    """
    if of_parent != version("instep"):
        return
    tame_heap()
    try:
        with pipes() as (questions, answers):
            confine({})
            asyncio.run(_serve(questions, answers))
    finally:
        os._exit(0)  # threads of the store may be in the middle of a call


class _Pipes:
    """Frames from and to the parent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def of(cls, questions: BinaryIO, answers: BinaryIO) -> "_Pipes":
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), questions)
        transport, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), answers
        )
        return cls(reader, asyncio.StreamWriter(transport, protocol, None, loop))

    async def hear(self) -> bytes | None:
        """The next frame; None: the parent sends no more."""
        try:
            head = await self._reader.readexactly(frames.HEAD.size)
            return await self._reader.readexactly(frames.length(head, MOST_BYTES))
        except asyncio.IncompleteReadError:
            return None

    async def say(self, frame: bytes) -> None:
        self._writer.write(frames.framed(frame))
        await self._writer.drain()


async def _serve(questions: BinaryIO, answers: BinaryIO) -> None:
    parent = await _Pipes.of(questions, answers)
    await parent.say(READY)
    told = await parent.hear()
    if told is None:
        return
    stop = runtime.Shutdown()
    async with _opened(ServedInstance.from_bytes(told), stop) as search:
        await parent.say(SERVING)
        answering = asyncio.create_task(_answer_all(search, parent))
        stopping = asyncio.create_task(stop.event.wait())
        await asyncio.wait((answering, stopping), return_when=asyncio.FIRST_COMPLETED)
        await cancel_all([answering, stopping])


@asynccontextmanager
async def _opened(instance: ServedInstance, stop: runtime.Shutdown) -> AsyncIterator[Search]:
    """The search of the instance. Raises InstepError: it cannot be had.

    Nothing is provisioned: a stream or bucket that is lost has to be missed by the parent, which
    makes it anew and fills it.
    """
    settings = instance.settings
    logs.configure(settings.telemetry)
    async with AsyncExitStack() as stack:
        session = await BusSession.open(
            instance.url,
            name="instep search",
            drain_s=settings.bus.drain,
            on_fatal=stop.fail,
            access=access_of(settings.bus, ADMIN),
        )
        stack.push_async_callback(session.close)
        host = Host(settings, instance.data, session, Progress())
        stack.push_async_callback(host.close)
        opened = host.generation(instance.generation)
        await session.heartbeat.listen()
        looks = await looks_of(opened)
        search = search_of(opened, opened.store, _no_encoder, await opened.ledger(), looks)
        await opened.store()
        loops = [asyncio.create_task(looks.watch.run()), asyncio.create_task(keep_small())]
        stack.push_async_callback(cancel_all, loops)
        yield search


async def _no_encoder() -> Encoder:
    raise EncoderBusy("the question has no vector")


async def _answer_all(search: Search, parent: _Pipes) -> None:
    under_way: set[asyncio.Task[None]] = set()
    while (frame := await parent.hear()) is not None:
        task = asyncio.create_task(_answer(search, parent, frame))
        under_way.add(task)
        task.add_done_callback(under_way.discard)


async def _answer(search: Search, parent: _Pipes, frame: bytes) -> None:
    number = number_of(frame)
    try:
        request, vector = read_asked(frame)
        if vector is not None:
            search.remember(request.q, vector)
        told = answered(number, await search(request))
    except (InstepError, Problem):  # the parent finds it, too, and tells it
        told = answered(number, None)
    except Exception as error:  # noqa: BLE001 - the outermost frame
        told = answered(number, None, frames.broke(error))
    await parent.say(told)
