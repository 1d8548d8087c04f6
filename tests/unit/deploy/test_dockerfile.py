"""What the build argument of the image for graphics cards decides."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
INSTALL = "/opt/instep/bin/python -m pip install"
PIP = """#!/bin/sh
while [ $# -gt 0 ]; do
    if [ "$1" = -r ]; then shift; cat "$1"; else echo "$1"; fi
    shift
done
"""
"""Prints what it shall install, a line each."""


@pytest.mark.parametrize("torch", ["torch==2.13.0", "--no-cache-dir torch==2.12.1+cpu"])
def test_the_torch_that_was_asked_for_is_the_only_one_that_is_installed(tmp_path, torch):
    stage = (ROOT / "deploy/Dockerfile").read_text().partition("AS build-cuda\n")[2]
    found = re.search(r"^RUN (.*?[^\\])\n", stage, re.DOTALL | re.MULTILINE)
    assert found is not None
    (tmp_path / "pip").write_text(PIP)
    command = found[1].replace(" /tmp/", f" {tmp_path}/").replace(INSTALL, f"sh {tmp_path}/pip")
    done = subprocess.run(
        ["sh", "-euc", command],
        cwd=ROOT,
        env={**os.environ, "TORCH": torch},
        capture_output=True,
        text=True,
        check=True,
    )
    said = done.stdout.splitlines()

    assert said[: len(torch.split())] == torch.split()
    assert [line for line in said if line.startswith("torch==")] == torch.split()[-1:]
    assert any(line.startswith("sentence-transformers==") for line in said)
