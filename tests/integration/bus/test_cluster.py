"""Three NATS servers with three copies of everything: one may be lost."""

import contextlib
import socket

import pytest

from shared.bus.provision import provision
from shared.bus.session import BusSession
from shared.errors import BusUnavailable

pytestmark = pytest.mark.nats


@pytest.fixture
def cluster(tmp_path, nats_server):
    """Three servers that know each other."""
    servers = [type(nats_server)(tmp_path / f"n{n}") for n in range(3)]
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in servers]
        for one in held:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in held]
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    for n, (server, port) in enumerate(zip(servers, ports, strict=True)):
        server.folder.mkdir()
        server.extra += (
            f'\nserver_name: "n{n}"\ncluster {{ name: "test", listen: "127.0.0.1:{port}", '
            f"routes: [{routes}] }}\n"
        )
        server.start()
    yield servers
    for server in servers:
        server.stop()


async def provisioned(session):
    """Tried until the servers have found each other."""
    while True:
        with contextlib.suppress(BusUnavailable):
            return await provision(session.js, generation="g1", patience_s=3600, replicas=3)


async def test_a_server_of_three_may_be_lost_and_nothing_with_it(cluster, changed):
    session = await BusSession.open(
        ",".join(server.url for server in cluster), name="test", drain_s=0, on_fatal=print
    )
    await provisioned(session)
    await session.publish(changed("a.md"))
    info = await session.js.stream_info("DOCS")
    leader = int(info.cluster.leader.removeprefix("n"))

    cluster[leader].kill()
    stored = False
    while not stored:
        with contextlib.suppress(BusUnavailable):
            await session.publish(changed("b.md"))
            stored = True
    after = await session.js.stream_info("DOCS")
    await session.close()

    assert info.config.num_replicas == 3
    assert after.state.messages == 2
    assert after.cluster.leader != info.cluster.leader
