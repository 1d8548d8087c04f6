"""The garbage collector leaves alone what stays, and still takes what goes."""

import subprocess
import sys

COLLECTED = """
import gc, sys
from services.host.memory import set_aside

class Node:
    def __init__(self):
        self.itself = self

before = [Node() for _ in range(100_000)]
if sys.argv[1] == "aside":
    set_aside()
print(sum(isinstance(one, Node) for one in gc.get_objects()))
after = [Node() for _ in range(1000)]
del after
gc.collect()
print(sum(isinstance(one, Node) for one in gc.get_objects()))
"""


def objects_looked_at(how):
    done = subprocess.run(
        [sys.executable, "-c", COLLECTED, how], capture_output=True, text=True, check=True
    )
    return [int(number) for number in done.stdout.split()]


def test_what_is_set_aside_is_not_looked_at_again_and_new_garbage_still_goes():
    assert objects_looked_at("as usual") == [100_000, 100_000]
    assert objects_looked_at("aside") == [0, 0]
