"""A stop of `instep up` ends, whatever hangs."""

import contextlib
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from instep_process import Instep, wait_until

from services.host.data_folder import DataFolder

pytestmark = pytest.mark.nats

HUNG_STORE = """
import asyncio, sys
from services.host import runtime
from services.cli.main import run
from shared.stores.coalesce import CoalescingStore

async def hang(_):
    await asyncio.Event().wait()

runtime.LEAVE_S = 1.0
CoalescingStore.close = hang
sys.exit(run(sys.argv[1:]))
"""


@dataclass
class Hung(Instep):
    """An installation whose store never closes."""

    def command(self, *args: object) -> list[str]:
        return [sys.executable, "-c", HUNG_STORE, *map(str, args), "--data", str(self.data)]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "plain.md").write_text("# Plain\n\nA plain text.\n")
    return folder


def times_out(asked: urllib.request.Request) -> bool:
    """Whether the answer does not come while its client waits for it."""
    try:
        urllib.request.urlopen(asked, timeout=2.0).close()
    except TimeoutError:
        return True
    return False


def test_a_search_whose_client_has_gone_does_not_hold_up_the_stop_of_a_model_that_hangs(
    instep: Instep, notes: Path
) -> None:
    instep.env |= {"INSTEP_EMBEDDING__MODEL": "fake-64-faults", "INSTEP_EMBEDDING__TIMEOUT": "0 s"}
    process = instep.up(notes)
    wait_until(lambda: instep.said("in step"))
    search = f"{DataFolder(instep.data).read_instance().gateway_url}/api/v1/search?mode=vector&q="

    def asked(q: str) -> urllib.request.Request:
        return urllib.request.Request(search + q, headers=instep.shown)

    with contextlib.suppress(OSError):
        urllib.request.urlopen(asked("faulthang"), timeout=2.0)
    wait_until(lambda: times_out(asked("plain")))
    process.terminate()

    assert process.wait(120) == 0
    assert not instep.said("stop_took_too_long")


def test_a_stop_that_takes_too_long_is_ended_also_where_all_services_share_a_process(
    tmp_path: Path, notes: Path
) -> None:
    instep = Hung(tmp_path / "data", tmp_path)
    instep.env |= {"INSTEP_BUS__DRAIN": "0 s"}
    process = instep.up(notes)
    wait_until(lambda: instep.said("in step"))
    process.terminate()
    try:
        assert process.wait(60) == 0
    finally:
        instep.stop(by=9)

    assert instep.said("stop_took_too_long")
