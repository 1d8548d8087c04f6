"""A server whose disk was full is started again when there is room."""

from services.disk import NewLines, tells_of_full_disk

FAILED = (
    b"[7] 2026/11/21 17:24:11.19 [ERR] JetStream failed to store a msg on stream '$G > DOCS': "
    b"write /data/1.blk: no space left on device\n"
)


def test_only_a_failed_write_for_want_of_room_counts():
    assert tells_of_full_disk(b"[7] [INF] Server is ready\n" + FAILED)
    assert not tells_of_full_disk(b"[7] [INF] Server is ready\n")
    assert not tells_of_full_disk(FAILED.replace(b"no space left on device", b"bad descriptor"))
    assert not tells_of_full_disk(b"failed to store a msg\nno space left on device\n")


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
