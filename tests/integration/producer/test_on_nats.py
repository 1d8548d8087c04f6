"""The ways into DOCS against a real server: compare-and-set, duplicates, and their window."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from intake_door import no_web
from memory_content import MemoryContent
from memory_kv import MemoryShelf
from watched import Watched

from services.producer.submissions.intake import AcceptSubmission
from shared.batches.members import BatchBook
from shared.bus.admin.provision import provision
from shared.bus.jetstream.change_log import JetChangeLog
from shared.bus.jetstream.kv import KvShelf
from shared.domain.events import Receipt
from shared.domain.ids import doc_key
from shared.domain.topology import LISTINGS
from shared.ports import Delivery
from shared.repair import resubmit

pytestmark = pytest.mark.nats
KEY = doc_key("inbox", "a.md")


@pytest.fixture
async def changes(js) -> AsyncIterator[JetChangeLog]:
    await provision(js, generation="g1")
    return JetChangeLog(js)


class Door:
    def __init__(self, changes: JetChangeLog) -> None:
        self.changes = changes
        self.receipts: list[Receipt] = []
        self.accept = AcceptSubmission(
            "g1", changes, MemoryContent(), BatchBook(MemoryShelf(), "g1"), self.reply,
            lambda: datetime.now(UTC), no_web,
        )  # fmt: skip

    async def reply(self, inbox: str, receipt: Receipt) -> None:
        self.receipts.append(receipt)

    async def submit(self, n: int, text: str, version: int | None = None) -> None:
        data = {"path": "a.md", "text": text, "source_version": version}
        headers = {"Instep-Reply-To": "_INBOX.x"}
        delivery = Delivery(n, subject="documents.submitted.inbox", headers=headers)
        await self.accept(json.dumps(data).encode(), delivery)

    async def content(self) -> str:
        newest = await self.changes.newest("inbox", KEY)
        assert newest is not None
        return newest.change.content.data


@pytest.fixture
def door(changes):
    return Door(changes)


@pytest.mark.parametrize(
    ("versions", "wins"),
    [
        ([None, None, None], "3"),
        ([1, 2, 3], "3"),
        ([2, 3, 1], "2"),
        ([5, None], "2"),
        ([1, 1], "2"),
    ],
)
async def test_p05_to_p10_many_workers_at_once_in_any_order(door, versions, wins):
    numbered = list(enumerate(versions, 1))
    for order in (numbered, numbered[::-1]):
        await asyncio.gather(
            *(door.submit(n, str(n), v) for n, v in order for _ in range(3)),
            resubmit(door.changes, "inbox", KEY, generation="g1"),
        )

        assert await door.content() == wins


async def test_a_redelivery_inside_the_duplicate_window_adds_nothing(door):
    await door.submit(1, "one")
    first = await door.changes.newest("inbox", KEY)
    await door.submit(1, "one")
    last = await door.changes.newest("inbox", KEY)

    assert last == first
    assert [r.state for r in door.receipts] == ["queued"] * 2


async def test_a_redelivery_after_the_duplicate_window_adds_nothing(door, js, eventually):
    # before the first message: nats-server may look at those that it has by the old window once
    # more, and then not again before that has ended
    info = await js.stream_info("DOCS")
    await js.update_stream(info.config.evolve(duplicate_window=0.1))
    await door.submit(1, "one")
    first = await door.changes.newest("inbox", KEY)

    async def window_has_ended() -> bool:
        subject, headers = "documents.changed.probe.x", {"Nats-Msg-Id": "i:1"}
        return not (await js.publish(subject, b"{}", headers=headers)).duplicate

    await eventually(window_has_ended)
    await door.submit(1, "one")
    last = await door.changes.newest("inbox", KEY)

    assert last == first
    assert [r.state for r in door.receipts] == ["queued"] * 2


async def test_a_late_worker_is_refused_by_the_server_and_starts_again(door):
    class Late(JetChangeLog):
        async def newest(self, source, doc_key):
            found = await super().newest(source, doc_key)
            if self.first:
                self.first = False
                await door.submit(2, "newer")
            return found

    late = Door(Late(door.changes._js))
    late.changes.first = True
    await late.submit(1, "older")

    assert await door.content() == "newer"
    assert late.receipts[0].state == "stale"


async def test_a_watched_folder_reaches_docs_and_is_unchanged_for_the_next_process(
    changes, js, tmp_path, eventually
):
    docs = Watched(tmp_path / "docs")
    docs.log = changes
    docs.listings = KvShelf(js, LISTINGS.name)
    await docs.listings.open()
    for n in range(200):
        docs.write(f"{n}.md", f"text {n}")
    await docs.once()
    first = (await js.stream_info("DOCS")).state.messages
    await docs.once()
    async with docs.running():
        docs.write("7.md", "edited")
        (docs.root / "8.md").unlink()

        async def newest(path):
            found = await changes.newest("docs", doc_key("docs", path))
            return found.change

        async def in_step() -> bool:
            return (await newest("8.md")).op == "deleted" and (
                (await newest("7.md")).content.data == "edited"
            )

        await eventually(in_step)

    assert first == 200
    assert docs.progress.unchanged == 200
    assert (await js.stream_info("DOCS")).state.last_seq >= first
