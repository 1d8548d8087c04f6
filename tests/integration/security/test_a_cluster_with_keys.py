"""Three servers as `nats-cluster.conf` configures them, and publishers at each of them."""

import asyncio
import contextlib
import json
import re
import subprocess
import time

import pytest
from keyed_bus import KeyedServer, server_executable
from nats.errors import Error as NatsError
from ports import free_ports

from services.host.startup import provisioned
from shared.bus.access.connect import access_of, connect
from shared.bus.access.permissions import inbox_of
from shared.bus.session import BusSession
from shared.domain.errors import BusUnavailable, NotProvisioned

SUBJECT = "documents.submitted.wiki"
COPIES = {"bus": {"replicas": 3}}


class Cluster:
    """The servers; `keyed` holds their keys and configuration."""

    def __init__(self, folder):
        self.keyed = KeyedServer(folder, sources=["wiki"])
        self.ports, self._routes = free_ports(3), free_ports(3)
        self._processes = []
        self.keyed.make_keys()

    def start(self):
        for n in range(3):
            config = self.keyed.keys / f"n{n}.conf"
            config.write_text(self._config(n))
            with (self.keyed.folder / f"log{n}").open("ab") as log:
                command = [server_executable(), "-c", str(config), "--name", f"n{n}"]
                self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def _config(self, n):
        """What `instep keys` wrote, with the addresses of one machine."""
        text = (self.keyed.keys / "nats-cluster.conf").read_text()
        text = re.sub(r'listen: "127[^"]*"', f'listen: "127.0.0.1:{self.ports[n]}"', text)
        text = text.replace("0.0.0.0:6222", f"127.0.0.1:{self._routes[n]}")
        text = text.replace(f"{self.keyed.folder}/store", f"{self.keyed.folder}/store{n}")
        for host, port in zip("abc", self._routes, strict=True):
            text = text.replace(f"@{host}:6222", f"@127.0.0.1:{port}")
        return text

    def stop(self):
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(60)
        self._processes.clear()

    def url(self, n):
        return f"nats://127.0.0.1:{self.ports[n]}"

    @contextlib.asynccontextmanager
    async def session(self, identity):
        access = access_of(self.keyed.settings(identity).bus, identity)
        url = ",".join(self.url(n) for n in range(3))
        opened = await patiently(
            lambda: BusSession.open(
                url, name=identity, drain_s=0, on_fatal=lambda _: None, access=access
            )
        )
        try:
            yield opened
        finally:
            await opened.close()

    async def provision(self):
        async with self.session("admin") as admin:
            await patiently(lambda: admin.client.request("$JS.API.INFO", timeout=0.3))
            settings = self.keyed.settings("admin", **COPIES)
            _, done = await patiently(lambda: provisioned(admin, settings))
            return done


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path / "bus")
    made.start()
    yield made
    made.stop()


async def patiently(call):
    """Tried until the servers have found each other and there is a leader."""
    until = time.monotonic() + 120
    while True:
        try:
            return await call()
        except (BusUnavailable, NatsError, OSError, TimeoutError):
            if time.monotonic() > until:
                raise
        await asyncio.sleep(0.2)


async def test_a_publisher_gets_its_answers_at_each_of_three_servers_and_sends_them_nowhere_else(
    cluster,
):
    await cluster.provision()
    stored = []
    async with cluster.session("producer") as producer:
        for n in range(3):
            for identity in ("publisher", "publisher-wiki"):
                access = access_of(cluster.keyed.settings(identity).bus, identity)
                publisher = await connect(cluster.url(n), access, allow_reconnect=False)
                inbox = f"{inbox_of(identity)}.receipt.{n}"
                listener = await publisher.subscribe(inbox)
                for target in ("documents.changed.docs.abc", "$JS.API.STREAM.DELETE.DOCS"):
                    await publisher.publish(SUBJECT, b"{}", reply=target)
                sent = publisher.jetstream().publish
                stored.append((await patiently(lambda sent=sent: sent(SUBJECT, b"{}"))).stream)
                await patiently(
                    lambda inbox=inbox, to=listener: answered(producer.client, inbox, to)
                )
                await publisher.close()
    async with cluster.session("admin") as admin:
        docs = await patiently(lambda: admin.js.stream_info("DOCS"))

    assert stored == ["INTAKE"] * 6
    assert docs.state.messages == 0


async def answered(client, inbox, listener):
    """A receipt goes out once: interest in the inbox travels between servers meanwhile."""
    await client.publish(inbox, b"receipt")
    await client.flush()
    return await listener.next_msg(1)


@pytest.mark.slow
async def test_streams_of_an_older_version_stay_until_a_backup_brings_them_into_the_account(
    cluster,
):
    subject = "documents.changed.docs.abc"
    cluster.stop()
    cluster.keyed.write_one_account()
    cluster.start()
    await cluster.provision()
    async with cluster.session("admin") as admin:
        [await patiently(lambda: admin.js.publish(subject, b"{}")) for _ in range(3)]
        before = await patiently(lambda: admin.js.stream_info("DOCS"))
    await refused_with_accounts(cluster)

    cluster.keyed.write_one_account()
    cluster.start()
    unchanged = await cluster.provision()
    async with cluster.session("admin") as admin:
        backups = [await backup(admin.client, info) for info in await admin.js.streams_info()]
    cluster.stop()
    cluster.keyed.make_keys()
    cluster.start()
    async with cluster.session("admin") as admin:
        for one in backups:
            await patiently(lambda one=one: restore(admin.client, one))
        done = await cluster.provision()
        after = await patiently(lambda: admin.js.stream_info("DOCS"))
        onward = await patiently(lambda: admin.js.publish(subject, b"{}"))

    assert unchanged == []
    assert not [line for line in done if line.startswith("created")]
    assert after.state.messages == before.state.messages
    assert after.state.last_seq == before.state.last_seq
    assert after.config.num_replicas == 3
    assert onward.seq > before.state.last_seq


async def refused_with_accounts(cluster):
    """Start the servers with the new configuration, find nothing made, and stop them."""
    cluster.stop()
    cluster.keyed.make_keys()
    cluster.start()
    with pytest.raises(NotProvisioned, match="a cluster needs a backup"):
        await cluster.provision()
    cluster.stop()


async def backup(client, info):
    """As `nats account backup` takes it: the stream's description, and its snapshot."""
    name, box = info.config.name, client.new_inbox()
    chunks = await client.subscribe(box)
    request = {"deliver_subject": box, "chunk_size": 131_072}
    told = await client.request(f"$JS.API.STREAM.SNAPSHOT.{name}", json.dumps(request).encode())
    described, found = json.loads(told.data), []
    while (chunk := await chunks.next_msg(30)).data:
        found.append(chunk.data)
        if chunk.reply:
            await client.publish(chunk.reply)
    await chunks.unsubscribe()
    return {"config": described["config"], "state": described["state"]}, found


async def restore(client, taken):
    """As `nats account restore` gives it back."""
    described, chunks = taken
    name = described["config"]["name"]
    told = await client.request(
        f"$JS.API.STREAM.RESTORE.{name}", json.dumps(described).encode(), timeout=30
    )
    to = json.loads(told.data).get("deliver_subject")
    if not to:  # an attempt before this one may have left half a stream
        await client.request(f"$JS.API.STREAM.DELETE.{name}", timeout=30)
        raise TimeoutError(told.data.decode())
    for chunk in [*chunks, b""]:
        last = await client.request(to, chunk, timeout=30)
    answer = json.loads(last.data)
    assert "error" not in answer, answer
