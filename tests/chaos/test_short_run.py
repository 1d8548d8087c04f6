"""Two minutes of everything that can go wrong, with real processes. The long run: `make chaos`.

A failure prints its seed and everything that was wrong; the same seed makes the same edits and the
same faults again (CONTRIBUTING.md, "Chaos").
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from chaos_plan import NO_DISK

SUPPORT = Path(__file__).parents[1] / "support"
SHORT = {
    "seed": 4,
    "documents": 320,
    "minutes": 0.7,
    "worker-kills": 12,
    "server-kills": 2,
    "stops": 1,
    "full-disks": 1,
    "poison": 4,
    "ack-wait-s": 8,
}
LIMIT_S = 1500
"""More than all that a run waits for."""


@pytest.mark.slow
@pytest.mark.nats
def test_kills_stops_full_disks_and_poison_leave_the_index_in_step(tmp_path):
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "chaos_run", "--report", str(report)]
    command += [str(word) for name, value in SHORT.items() for word in (f"--{name}", value)]
    run = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": str(SUPPORT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = run.communicate(timeout=LIMIT_S)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)

    assert run.returncode == 0, said
    found = json.loads(report.read_text())
    assert found["wrong"] == []
    counts = Counter(found["counts"])
    assert counts["worker kills"] >= 10
    assert counts["server kills"] >= 2
    assert counts["stops"] >= 1
    assert counts["duplicates"] > 0
    assert counts["models killed by poison"] > 1
    assert counts["dead letters"] >= SHORT["poison"]
    assert counts["questions"] > 0
    assert counts["receipts"] > SHORT["documents"]
    if NO_DISK in found["notes"]:
        pytest.skip(f"{NO_DISK}; all else of the run was asserted")
    assert counts["full disks"] >= 1
