"""Every benchmark finds what it imports."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BENCHMARKS = sorted((ROOT / "bench").glob("*.py"))


@pytest.mark.parametrize("file", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_finds_what_it_imports(file):
    places = [str(ROOT / "bench"), str(ROOT), str(ROOT / "tests" / "support")]
    code = f"import sys; sys.path[:0] = {places!r}; import {file.stem}"

    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
