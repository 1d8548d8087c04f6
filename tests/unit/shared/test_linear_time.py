"""Whatever text arrives from outside, reading it takes time in proportion to its length.

Steps of the engine of `re` cannot be counted. So each case runs where the kernel counts processor
time: linear work needs a fraction of what it gives, quadratic work many times more, on any machine.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import hostile_text
import pytest

ROOT = Path(__file__).parents[3]


def too_slow(kind):
    """Names of the cases that the kernel ended, and how many there were."""
    ended, first = [], 0
    while True:
        command = [sys.executable, hostile_text.__file__, kind, str(first)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        number, name = json.loads(done.stdout.splitlines()[-1])
        if done.returncode == 0:
            return ended, number + 1
        assert done.returncode == -signal.SIGPROF, f"{name}: {done.stderr}"
        ended, first = [*ended, name], number + 1
        if len(ended) == 5:
            return ended, number + 1


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("kind", "least"), [("patterns", 3_000), ("readers", 20_000)])
def test_no_text_makes_a_pattern_or_a_reader_take_more_than_linear_time(kind, least):
    ended, tried = too_slow(kind)

    assert ended == []
    assert tried > least


def test_a_pattern_that_is_made_of_what_a_function_is_given_is_tried_as_a_reader():
    made = {
        where.split(":")[0]
        for module in hostile_text.modules()
        for where, pattern, _ in hostile_text.given_to_re(module)
        if pattern is None
    }

    # patterns of ignore files, and the signs of errors: "a file name" and "an error of Weaviate"
    assert made == {"services.producer.sources.patterns", "shared.stores.weaviate.answers"}
