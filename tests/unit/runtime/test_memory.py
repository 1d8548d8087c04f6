"""A process with many threads keeps few heaps, and none of what it does not need any more."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the calls are glibc's, and elsewhere they are not made"
)

THREADS = """
import ctypes, sys, threading
from services.host.memory import tame_heap

libc = ctypes.CDLL(None)
if sys.argv[1] == "few":
    tame_heap()
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


def test_all_threads_share_two_heaps():
    assert heaps("few") <= 2 < heaps("as usual")


HOLES = """
import ctypes
from pathlib import Path
from services.host.memory import hand_back

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]

def resident_kb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

blocks = [(libc.malloc(50_000), libc.malloc(100)) for _ in range(1000)]
for large, small in blocks:
    ctypes.memset(large, 1, 50_000)
for large, small in blocks:
    libc.free(large)
before = resident_kb()
hand_back()
print(before - resident_kb())
"""


def test_what_is_free_between_what_is_used_is_handed_back():
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 30_000


LARGE = """
import ctypes, sys
from pathlib import Path
from services.host.memory import tame_heap

libc = ctypes.CDLL(None)
if sys.argv[1] == "tame":
    tame_heap()
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]

def resident_kb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

libc.free(libc.malloc(8_000_000))
before = resident_kb()
blocks = [(libc.malloc(2_000_000), libc.malloc(200_000)) for _ in range(50)]
for large, small in blocks:
    ctypes.memset(large, 1, 2_000_000)
for large, small in blocks:
    libc.free(large)
print(resident_kb() - before)
"""


def left_kb(how):
    done = subprocess.run(
        [sys.executable, "-c", LARGE, how], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_a_large_block_is_handed_back_when_it_is_freed():
    assert left_kb("tame") < 10_000 < left_kb("as usual")
