"""Twenty thousand files in one folder: times are printed, not asserted (`pytest -s`)."""

import time

import pytest
from watched import Watched

from services.producer.sources.folder.folder import Folder
from services.producer.sources.listing import Seen, compare
from services.producer.sources.port import Version
from services.producer.sources.rules import Rules

FILES = 20_000


@pytest.mark.slow
async def test_twenty_thousand_unchanged_files_are_listed_and_compared(tmp_path):
    for n in range(FILES):
        (tmp_path / f"{n:06d}.md").write_bytes(b"%d" % n)
    folder = Folder(tmp_path, Rules(), max_bytes=1000)
    seen = folder.scan().files
    before = {
        path: Seen(Version(*stat), stat.changed_ns + 10**10, "x", 1) for path, stat in seen.items()
    }

    began = time.perf_counter()
    scan = folder.scan()
    listed = time.perf_counter()
    found = compare(before, scan.files, max_bytes=1000)
    compared = time.perf_counter()
    print(
        f"\n{FILES} files listed in {listed - began:.3f} s, compared in {compared - listed:.3f} s"
    )

    assert (found.unchanged, found.suspects, found.vanished) == (FILES, (), ())


@pytest.mark.slow
async def test_a_start_with_many_files_and_a_restart(tmp_path):
    docs = Watched(tmp_path / "docs")
    for n in range(FILES // 4):
        docs.write(f"{n % 50}/{n}.md", str(n))
    began = time.perf_counter()
    await docs.once()
    first = time.perf_counter()
    await docs.once()
    second = time.perf_counter()
    print(
        f"\n{FILES // 4} files accepted in {first - began:.2f} s, again in {second - first:.2f} s"
    )

    assert len(docs.log.appended) == FILES // 4
    assert docs.progress.unchanged == FILES // 4
