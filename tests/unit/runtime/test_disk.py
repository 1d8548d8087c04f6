"""A server whose disk was full is started again when there is room."""

import asyncio
import errno

import pytest

from services.host.nats_server import disk
from services.host.nats_server.disk import (
    ROOM_BYTES,
    SHORT_BYTES,
    FullDisk,
    NewLines,
    tells_of_full_disk,
    watch_disk,
)

FAILED = (
    b"[7] 2026/11/21 17:24:11.19 [ERR] JetStream failed to store a msg on stream '$G > DOCS': "
    b"write /data/1.blk: no space left on device\n"
)


@pytest.fixture
def free(monkeypatch):
    """What the disk says that it has, look by look, the last one for ever; an error is raised."""
    answers = [2 * ROOM_BYTES]

    def bytes_of(folder):
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(disk, "free_bytes", bytes_of)
    return answers


def test_only_a_failed_write_of_this_server_for_want_of_room_counts():
    assert tells_of_full_disk(b"[7] [INF] Server is ready\n" + FAILED, 7)
    assert not tells_of_full_disk(FAILED, 77)
    assert not tells_of_full_disk(FAILED, None)
    assert not tells_of_full_disk(b"[7] [INF] Server is ready\n", 7)
    assert not tells_of_full_disk(FAILED.replace(b"no space left on device", b"bad descriptor"), 7)
    assert not tells_of_full_disk(b"[7] failed to store a msg\n[7] no space left on device\n", 7)


def test_a_log_that_is_on_the_full_disk_need_not_tell(tmp_path, free):
    """The line that says so does not fit either."""
    full = FullDisk(tmp_path, 7)
    room = full.look(7)
    free[0] = SHORT_BYTES - 1
    short = full.look(7)
    free[0] = ROOM_BYTES - 1
    not_yet = full.look(7)
    free[0] = ROOM_BYTES

    assert (room, short, not_yet, full.look(7)) == (False, False, False, True)


def test_a_disk_that_only_has_little_room_is_no_reason_for_a_new_start(tmp_path, free):
    full = FullDisk(tmp_path, 7)
    free[0] = SHORT_BYTES
    little = full.look(7)
    free[0] = ROOM_BYTES

    assert (little, full.look(7)) == (False, False)


def test_what_a_new_server_says_in_its_first_moment_is_heard_and_the_old_one_is_not(tmp_path, free):
    log = tmp_path / disk.LOG
    log.write_bytes(FAILED)
    full = FullDisk(tmp_path, 7)
    before = full.look(7)
    with log.open("ab") as file:
        file.write(FAILED)  # the last words of the old one
    of_the_old = full.look(8)
    with log.open("ab") as file:
        file.write(FAILED + FAILED.replace(b"[7]", b"[9]"))

    assert (before, of_the_old, full.look(9)) == (False, False, True)


async def test_a_look_that_fails_does_not_end_the_watch(tmp_path, free, monkeypatch):
    """The log was exchanged between two calls, or the disk does not answer for a moment."""
    monkeypatch.setattr(disk, "LOOK_S", 0.0)
    failed = OSError(errno.EIO, "Input/output error")
    free[:] = [failed, SHORT_BYTES - 1, failed, failed, ROOM_BYTES]
    restarted = asyncio.Event()
    watching = asyncio.create_task(watch_disk(tmp_path, lambda: 7, restarted.set))
    heard = asyncio.create_task(restarted.wait())
    await asyncio.wait([watching, heard], return_when=asyncio.FIRST_COMPLETED, timeout=60)
    ended = watching.done()
    for task in (watching, heard):
        task.cancel()
    await asyncio.gather(watching, heard, return_exceptions=True)

    assert (ended, restarted.is_set()) == (False, True)


def test_new_lines_are_read_once_and_a_new_log_from_its_beginning(tmp_path):
    file = tmp_path / "log"
    lines = NewLines(file)
    before = lines.read()
    file.write_bytes(b"one two three\n")
    lines.skip()
    with file.open("ab") as log:
        log.write(b"four\n")
    grown, again = lines.read(), lines.read()
    file.write_bytes(b"five\n")

    assert (before, grown, again, lines.read()) == (b"", b"four\n", b"", b"five\n")
