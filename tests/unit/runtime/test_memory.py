"""A process with many threads keeps few heaps."""

import subprocess
import sys

import pytest

THREADS = """
import ctypes, sys, threading
from services.memory import few_arenas

libc = ctypes.CDLL(None)
if sys.argv[1] == "few":
    few_arenas()
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
together = threading.Barrier(9)

def allocate():
    together.wait()
    for _ in range(100):
        libc.malloc(50_000)
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads:
    thread.start()
together.wait()
together.wait()
out = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


def heaps(how):
    done = subprocess.run(
        [sys.executable, "-c", THREADS, how], capture_output=True, text=True, check=True
    )
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(sys.platform != "linux", reason="it is glibc's habit")
def test_all_threads_share_two_heaps():
    assert heaps("few") <= 2 < heaps("as usual")
