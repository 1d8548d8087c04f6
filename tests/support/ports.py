"""Ports for servers that are started seconds later, or again."""

import contextlib
import random
import socket
from pathlib import Path


def free_ports(count: int) -> tuple[int, ...]:
    """Ports in a row that nobody uses now; a cluster in one place wants them so.

    They are below those that the kernel gives to connections and to who asks for any: a server
    that takes seconds to start finds its port free all the same.
    """
    below = _given_by_the_kernel_from() - count
    while True:
        first = random.randrange(below // 2, below)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return tuple(range(first, first + count))


def _given_by_the_kernel_from() -> int:
    try:
        told = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
        return max(10_000, int(told.split()[0]))
    except OSError:
        return 32_768


def free_port() -> int:
    """One port as `free_ports` tells them: also one that is found free again after a kill."""
    return free_ports(1)[0]
