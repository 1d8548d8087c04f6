"""No phone-home: loading the model reports nothing and forks nothing."""

import subprocess
import sys

import pytest

pytest.importorskip("openvino")

PROGRAM = """
import os, sys
def refuse():
    raise SystemExit("something forked")
os.register_at_fork(before=refuse)
import shared.encoders.local.minilm.openvino
assert sys.modules["openvino_telemetry"] is None
print("quiet")
"""


def test_loading_openvino_starts_no_process_and_loads_no_reporter():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )

    assert (done.stdout.strip(), done.returncode) == ("quiet", 0), done.stderr
