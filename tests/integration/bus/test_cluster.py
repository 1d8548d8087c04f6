"""Three NATS servers with three copies of everything: one may be lost."""

import contextlib

import pytest
from nats.errors import Error as NatsError
from ports import free_ports

from shared.bus.admin.provision import provision
from shared.bus.session import BusSession
from shared.domain.errors import BusUnavailable

pytestmark = pytest.mark.nats


@pytest.fixture
def cluster(tmp_path, nats_server):
    """Three servers that know each other."""
    servers = [type(nats_server)(tmp_path / f"n{n}") for n in range(3)]
    ports = free_ports(len(servers))
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
            return await provision(session.js, generation="g1", replicas=3)


async def patiently(call):
    """Tried until there is a leader that answers."""
    while True:
        with contextlib.suppress(BusUnavailable, NatsError, TimeoutError):
            return await call()


async def test_a_server_of_three_may_be_lost_and_nothing_with_it(cluster, changed):
    session = await BusSession.open(
        ",".join(server.url for server in cluster), name="test", drain_s=0, on_fatal=print
    )
    await provisioned(session)
    await patiently(lambda: session.publish(changed("a.md")))
    info = await patiently(lambda: session.js.stream_info("DOCS"))
    leader = int(info.cluster.leader.removeprefix("n"))

    cluster[leader].kill()
    await patiently(lambda: session.publish(changed("b.md")))
    after = await patiently(lambda: session.js.stream_info("DOCS"))
    await session.close()

    assert info.config.num_replicas == 3
    assert after.state.messages == 2
    assert after.cluster.leader != info.cluster.leader
