"""The connection of a process to the bus, and the stages that it serves."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog
from faststream.nats import NatsBroker
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from shared.bus.access.connect import Access, broker_arguments, checked, is_plain, refusal
from shared.bus.access.denials import watch
from shared.bus.delivery.consume import Consumer, Counts, Decode, Handler, T
from shared.bus.delivery.decode import decode
from shared.bus.delivery.gate import Gate
from shared.bus.jetstream.publish import JetPublisher
from shared.bus.monitor.heartbeat import Heartbeat
from shared.domain.errors import BusUnavailable, ConfigurationError
from shared.domain.presence import PREFIX as HERE
from shared.domain.priority import Lane, lane_of_message
from shared.domain.topology import E, Stage

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S: Final = 2
RECONNECT_PAUSE_S: Final = 0.25
PING_INTERVAL_S: Final = 20
REQUEST_TIMEOUT_S: Final = 5.0
NOBODY: Final = Access()

Wait = Callable[[str], Awaitable[None]]
"""Called with the reason whenever no server answers; returns when to try again."""


class BusSession:
    """One connection that never gives up, and the stages that consume through it.

    `subscribe` stages, then `start`, as often as there are more; to end, `drain` (when other parts
    must follow in order) and `close`. Core request and reply is had from `client`.
    """

    def __init__(
        self,
        *,
        name: str,
        drain_s: float,
        on_fatal: Callable[[BaseException], None],
        access: Access,
    ) -> None:
        self.access = access
        self.client: Client
        self.js: JetStreamContext
        self.publish: JetPublisher
        self.heartbeat: Heartbeat
        self.stages: dict[str, Consumer[Any]] = {}
        self._gate = Gate()
        self._starting = asyncio.Lock()
        self._name = name
        self._drain_s = drain_s
        self._on_fatal = on_fatal
        self._broker: NatsBroker
        self.failed_connects = self.reconnects = 0
        self._closing = self._refused = False

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        name: str,
        drain_s: float,
        on_fatal: Callable[[BaseException], None],
        wait: Wait | None = None,
        access: Access = NOBODY,
    ) -> "BusSession":
        """Connect.

        Args:
            url: of a server, or of several of one cluster, with commas between.
            name: of this process, as the server shows it.
            drain_s: how long a stop waits for running handlers.
            on_fatal: ends the process; called at most once, when the session can never work again.
            wait: keep trying until a server answers, and do this between the tries.
            access: the identity of the process, and its trust.

        Raises:
            BusUnavailable: no `wait`, and no server answers.
            ConfigurationError: a server answers and refuses the key, or does not encrypt.
        """
        session = cls(name=name, drain_s=drain_s, on_fatal=on_fatal, access=access)
        await session._connect(url.split(","), wait=wait)
        return session

    async def _connect(self, servers: list[str], *, wait: Wait | None) -> None:
        async def on_error(error: Exception) -> None:
            self.failed_connects += 1
            if why := refusal(error):
                raise ConfigurationError(f"the NATS server at {_shown(servers)} {why}")
            if self.failed_connects % len(servers):
                return
            if wait is None:
                raise BusUnavailable(f"no NATS server answers at {_shown(servers)}")
            await wait(f"no NATS server answers at {_shown(servers)}")

        self._broker = NatsBroker(
            servers,
            name=self._name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_PAUSE_S,  # type: ignore[arg-type]  # sleeps on a float
            connect_timeout=CONNECT_TIMEOUT_S,
            ping_interval=PING_INTERVAL_S,
            error_cb=on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_closed,
            graceful_timeout=None,
            apply_types=False,
            logger=None,
            **broker_arguments(self.access),
        )
        try:
            self.client = await self._broker.connect()
        except (NatsError, OSError) as error:
            raise BusUnavailable(f"{_shown(servers)}: {error}") from None
        # FastStream's callback raises inside the reconnect task on e.g. an authorization error,
        # which ends that task and so the reconnecting
        self.client._error_cb = self._on_error
        await checked(self.client, self.access)
        self.heartbeat = Heartbeat(self.client)
        denials = watch(self.client)
        denials.listen(self._on_denied)
        denials.spare(f"{HERE}.", self.heartbeat.denied)
        self.js = self.client.jetstream(timeout=REQUEST_TIMEOUT_S)
        self.publish = JetPublisher(self.js)

    def subscribe(self, stage: Stage[E], handler: Handler[E], *, lane: Lane | None = None) -> None:
        """Give the stage's events to a handler, which returns the events that follow.

        Its events are stored before the message is acknowledged; its error goes to
        `shared.bus.delivery.outcome`. The next `start` begins it.

        Args:
            lane: the stage is delivered the messages of both; it leaves those of the other lane to
                that lane's consumer.
        """

        def event_of(message: Msg) -> E:
            return decode(
                stage,
                subject=message.subject,
                data=message.data,
                headers=message.headers or {},
                sequence=message.metadata.sequence.stream,
            )

        def is_anothers(message: Msg) -> bool:
            return lane is not None and lane_of_message(message.headers or {}) != lane

        self._consume(
            Consumer(stage, event_of, handler, self.fail, gate=self._gate, is_anothers=is_anothers)
        )

    def subscribe_raw(self, stage: Stage[Any], decode: Decode[T], handler: Handler[T]) -> None:
        """The same for messages that are not events, with a decoder of their own."""
        self._consume(Consumer(stage, decode, handler, self.fail, gate=self._gate))

    def _consume(self, consumer: Consumer[Any]) -> None:
        consumer.register(self._broker, self.js, self.publish)
        self.stages[consumer.stage.name] = consumer

    async def start(self) -> None:
        """Begin to consume the stages that were subscribed since the last start.

        The durable consumers must exist (`shared.bus.admin.provision`).
        """
        async with self._starting:
            for subscriber in self._broker.subscribers:
                if not subscriber.running:
                    await subscriber.start()
        self.heartbeat.begin(self.stages)

    async def drain(self) -> None:
        """Stop fetching, hand back waiting messages, let handlers end within `drain_s`."""
        await self.heartbeat.end()
        handed_back = await asyncio.gather(
            *(consumer.pull.drain(self._drain_s) for consumer in self.stages.values())
        )
        if self.client.is_connected:
            with contextlib.suppress(NatsError, TimeoutError):
                await self.client.flush(2)
        done = sum(consumer.counts.acked for consumer in self.stages.values())
        log.info("bus_drained", handed_back=sum(handed_back), done=done)

    async def close(self) -> None:
        """Drain if that was not done, then disconnect."""
        await self.drain()
        self._closing = True
        with contextlib.suppress(NatsError, OSError):  # the server may go away this moment
            if self.client.is_connected:
                await self._broker.stop()
            else:
                await self.client.close()
                await self._broker.stop()

    def healthy(self) -> bool:
        """Connected, and every stage can receive."""
        return self.client.is_connected and all(c.pull.healthy() for c in self.stages.values())

    @property
    def stalls(self) -> int:
        """How often a stage had to start fetching anew."""
        return sum(consumer.pull.stalls for consumer in self.stages.values())

    @property
    def counts(self) -> Mapping[str, Counts]:
        """Deliveries by stage and end."""
        return {name: consumer.counts for name, consumer in self.stages.items()}

    def fail(self, error: BaseException) -> None:
        """End the process: the fault cannot pass. The first reason counts."""
        if not self._closing:
            self._closing = True
            self._on_fatal(error)

    def _on_denied(self, error: ConfigurationError) -> None:
        """Trying again cannot help, and would cost documents their attempts."""
        log.error("bus_denied", reason=str(error))
        if self.stages:
            self.fail(error)

    async def _on_error(self, error: Exception) -> None:
        log.info("bus_error", error=type(error).__name__)
        if (why := refusal(error)) and not self._refused:  # its users may be back in a moment
            self._refused = True
            log.warning("bus_refuses", name=self._name, reason=f"the NATS server {why}")

    async def _on_disconnected(self) -> None:
        if not self._closing:
            log.warning("bus_disconnected", name=self._name, reason="the bus does not answer")

    async def _on_reconnected(self) -> None:
        self.reconnects += 1
        self._refused = False
        log.warning("bus_reconnected", name=self._name, reason="the bus answers again")
        if is_plain(self.client, self.access):
            self.fail(ConfigurationError("the NATS server does not encrypt any more"))
        self.heartbeat.reconnected()
        for consumer in self.stages.values():
            consumer.pull.reconnected()

    async def _on_closed(self) -> None:
        if why := refusal(self.client.last_error or Exception()):
            self.fail(ConfigurationError(f"the NATS server {why}"))
        self.fail(BusUnavailable("the connection to the bus was closed for good"))


def _shown(servers: list[str]) -> str:
    """Addresses without user names and passwords."""
    return ", ".join(server.rpartition("@")[2].removeprefix("nats://") for server in servers)
