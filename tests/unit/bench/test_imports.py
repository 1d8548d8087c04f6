"""Every benchmark finds what it imports."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
BENCHMARKS = sorted(path.stem for path in (ROOT / "bench").glob("*.py"))
IMPORTS = """
import importlib, sys, traceback
broken = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException:
        traceback.print_exc()
        broken.append(name)
print(*broken)
"""


def test_every_benchmark_finds_what_it_imports():
    """In one process: each on its own would import the same libraries again."""
    places = [str(ROOT / "bench"), str(ROOT), str(ROOT / "tests" / "support")]
    code = f"import sys; sys.path[:0] = {places!r}\n{IMPORTS}"

    done = subprocess.run(
        [sys.executable, "-c", code, *BENCHMARKS],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    assert len(BENCHMARKS) > 20
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
