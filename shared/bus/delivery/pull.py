"""The fetch loop of one stage: credits, heartbeats, hand-back. It knows messages, not events.

FastStream's own loop waits for the slowest of a batch, notices neither a deleted consumer nor a
closed connection, and drops what it had fetched when it stops. This one keeps messages at hand,
asks for more meanwhile, and gives back those that it will not handle.

`Pace` says how many messages a process holds; it is pure. No other replica can handle the messages
that one holds: at the end of a backlog others idle, and after a death the server delivers them
again. But messages may be small, and many of them fill one call of the device. So a process holds
about as many as it has lately handled. Where a call takes long, that alone would keep it small for
ever, so messages that end at one moment count as one shared call, and three times as many are held:
one call is under way, the next is at hand, and it may be larger.
"""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import takewhile
from typing import Any, Final

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import APIError, NotFoundError

from shared.domain.errors import BusUnavailable, ConfigurationError
from shared.domain.topology import MB, Stage

LATELY_S: Final = 2.0
LEAST: Final = 8
"""Messages held however slow they are: the next must be there when one has ended."""

MOMENT_S: Final = 0.1
"""Messages that end within it may have shared a call of the device."""
CALLS_HELD: Final = 3


class Pace:
    """Messages done lately.

    Args:
        most: messages ever held.
        paced: otherwise it is always `most`.
    """

    def __init__(self, most: int, *, paced: bool) -> None:
        self._most = most
        self._paced = paced
        self._ended: deque[float] = deque(maxlen=most)
        self._shared = 0
        """Most that ended at one moment, lately."""
        self._shared_at = 0.0

    def end(self, now_s: float) -> None:
        """A message is done."""
        self._ended.append(now_s)
        shared = sum(1 for _ in takewhile(lambda at: now_s - at <= MOMENT_S, reversed(self._ended)))
        if shared >= self._shared or now_s - self._shared_at > LATELY_S:
            self._shared, self._shared_at = shared, now_s

    def room(self, now_s: float) -> int:
        """Messages to be held now."""
        while self._ended and now_s - self._ended[0] > LATELY_S:
            self._ended.popleft()
        if not self._paced:
            return self._most
        shared = self._shared if now_s - self._shared_at <= LATELY_S else 0
        return min(self._most, max(LEAST, len(self._ended), CALLS_HELD * shared))


log = structlog.get_logger(__name__)

EXPIRES_S: Final = 30.0
HEARTBEAT_S: Final = 5.0
MAX_HELD_BYTES: Final = 32 * MB
MAX_REQUEST_BYTES: Final = 16 * MB
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 5.0
ORDINARY: Final = ("no messages", "request timeout", "batch completed", "exceeds maxbytes")
"""The normal ends of a request: ask again."""


class Pull:
    """The messages of one durable consumer that this process holds.

    Args:
        consume: handles one message; it settles the message itself and does not raise.
        on_fatal: called once when fetching cannot go on.
    """

    def __init__(
        self,
        stage: Stage[Any],
        consume: Callable[[Msg], Awaitable[object]],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self.stage, self.stalls, self.open = stage, 0, False
        self.fatal: BaseException | None = None
        self._consume, self._on_fatal = consume, on_fatal
        self._waiting: deque[Msg] = deque()
        self._running = 0
        self._pace = Pace(stage.prefetch, paced=stage.paced)
        self._held: dict[str, Msg] = {}
        self._held_bytes = self._credit = 0
        self._tasks = set[asyncio.Task[None]]()
        self._pause_s = FIRST_PAUSE_S
        self._last_sign = self._last_beat = self.turned_at = time.monotonic()
        self._doubt = asyncio.Event()

    @property
    def held(self) -> int:
        """Messages at hand, running ones included."""
        return len(self._held)

    def healthy(self) -> bool:
        """Whether messages can arrive: no fatal error, and the server gave a sign lately."""
        recent = time.monotonic() - self._last_sign < 4 * HEARTBEAT_S
        return self.fatal is None and self.open and (recent or not self._credit)

    async def start(self, client: Client) -> None:
        self._client = client
        self._inbox = client.new_inbox()
        self._subscription = await client.subscribe(self._inbox, cb=self._on_message)
        self.open = True
        self._last_sign = time.monotonic()
        await self._refill()

    def reconnected(self) -> None:
        """Requests died with the old connection: ask anew at once."""
        self._credit = 0
        self._doubt.set()

    async def drain(self, within_s: float) -> int:
        """Stop fetching, hand back waiting messages, let running handlers end, then cancel them.

        Returns:
            How many messages were handed back unopened.
        """
        self.open = False
        waiting = list(self._waiting)
        self._waiting.clear()
        for message in waiting:
            await self._give_back(message)
        await self._unsubscribe()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        return len(waiting)

    async def watch(self) -> None:
        """Keep held messages ours, notice silence, recover. Runs until cancelled."""
        tick_s = min(HEARTBEAT_S, self.stage.beat_s)
        while True:
            self.turned_at = time.monotonic()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._doubt.wait(), tick_s)
            doubted = self._doubt.is_set()
            self._doubt.clear()
            await self._beat()
            if self.open and (doubted or self._silent()):
                await self._recover()
            await self._refill()

    async def _refill(self) -> None:
        """Ask for as many messages as there is room for, but not for few while some wait here."""
        room = self._pace.room(time.monotonic())
        want = room - self.held - self._credit
        if not self.open or want <= 0 or self._held_bytes >= MAX_HELD_BYTES:
            return
        if want < room // 2 and (self._credit or self._waiting):
            return
        self._credit += want
        request = {
            "batch": want,
            "max_bytes": MAX_REQUEST_BYTES,
            "expires": int(EXPIRES_S * 1e9),
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self.stage.stream}.{self.stage.name}"
        try:
            await self._client.publish(subject, json.dumps(request).encode(), reply=self._inbox)
        except NatsError as error:
            log.warning("fetch_not_sent", stage=self.stage.name, error=type(error).__name__)
            self._credit = 0
            self._doubt.set()

    async def _on_message(self, message: Msg) -> None:
        self._last_sign = time.monotonic()
        # a publisher may send a header named Status; only JetStream sets this reply
        if not message.reply.startswith("$JS.ACK."):
            return await self._on_status(message.headers or {})
        self._credit = max(0, self._credit - 1)
        self._pause_s = FIRST_PAUSE_S
        if not self.open:
            return await self._give_back(message)
        self._held[message.reply] = message
        self._held_bytes += len(message.data)
        self._waiting.append(message)
        self._start_waiting()
        return await self._refill()

    async def _on_status(self, headers: dict[str, str]) -> None:
        status = headers.get("Status", "")
        text = headers.get("Description", "").lower()
        if status == "100":
            self._pause_s = FIRST_PAUSE_S
            return
        self._credit = max(0, self._credit - int(headers.get("Nats-Pending-Messages", 2**31)))
        if "consumer deleted" in text:
            self._die(gone(self.stage))
        elif any(ending in text for ending in ORDINARY):
            await self._refill()
        elif self.open:
            log.info("fetch_refused", stage=self.stage.name, status=status, text=text)
            self._doubt.set()

    def _silent(self) -> bool:
        """No sign for two heartbeats although messages are asked for."""
        if not self._credit or not self._client.is_connected:
            self._last_sign = max(self._last_sign, time.monotonic() - HEARTBEAT_S)
            return False
        return time.monotonic() - self._last_sign > 2 * HEARTBEAT_S

    async def _recover(self) -> None:
        """Look whether the consumer is there, then ask anew; give up only when it is gone."""
        self.stalls += 1
        missing = 0
        while self.open:
            self.turned_at = time.monotonic()
            if self._client.is_closed:
                self._die(BusUnavailable("the connection to the bus was closed for good"))
                return
            try:
                js = self._client.jetstream(timeout=2)
                await js.consumer_info(self.stage.stream, self.stage.name, timeout=2)
            except NotFoundError:
                missing += 1
                if missing == 2:  # a server that has just started may not have loaded it yet
                    self._die(gone(self.stage))
                    return
            except (NatsError, APIError, TimeoutError) as error:
                log.info("consumer_not_seen", stage=self.stage.name, error=type(error).__name__)
            else:
                break
            await self._pause()
        await self._pause()
        self._credit, self._last_sign = 0, time.monotonic()
        await self._refill()

    async def _pause(self) -> None:
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2)

    def _die(self, error: BaseException) -> None:
        if self.fatal is None and self.open:
            self.fatal, self.open = error, False
            log.error("stage_stopped", stage=self.stage.name, error=str(error))
            self._on_fatal(error)

    def _start_waiting(self) -> None:
        while self._waiting and self._running < self.stage.concurrency:
            self._running += 1
            task = asyncio.create_task(self._run(self._waiting.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, message: Msg) -> None:
        try:
            await self._consume(message)
        except asyncio.CancelledError:
            if not message.is_acked:
                await self._give_back(message)
            raise
        finally:
            self._running -= 1
            self._pace.end(time.monotonic())
            self._let_go(message)
            if self.open:
                self._start_waiting()
        await self._refill()

    def _let_go(self, message: Msg) -> None:
        if self._held.pop(message.reply, None) is not None:
            self._held_bytes -= len(message.data)

    async def _give_back(self, message: Msg) -> None:
        """Give it to another replica now; without this it waits for `ack_wait`."""
        self._let_go(message)
        with contextlib.suppress(NatsError):
            await message.nak()

    async def _beat(self) -> None:
        """Signal to the server that all held messages are still ours, the waiting ones too."""
        now = time.monotonic()
        if now - self._last_beat < self.stage.beat_s * 0.9 or not self._client.is_connected:
            return
        self._last_beat = now
        with contextlib.suppress(NatsError):
            for message in list(self._held.values()):
                if not message.is_acked:
                    await message.in_progress()

    async def _unsubscribe(self) -> None:
        """Messages already on their way still reach `_on_message`, which hands them back."""
        with contextlib.suppress(NatsError, TimeoutError):
            if self._client.is_connected:
                drained: Awaitable[None] = self._subscription.drain()  # type: ignore[no-untyped-call]
                await asyncio.wait_for(drained, 2)
            else:
                await self._subscription.unsubscribe()


def gone(stage: Stage[Any]) -> ConfigurationError:
    """The error that ends the process when its consumer was deleted."""
    name = f"{stage.stream}/{stage.name}"
    return ConfigurationError(f"consumer {name} is gone from the bus: run instep provision")
