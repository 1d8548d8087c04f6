"""How soon instep answers: --help, first line of `up`, watching, a search.

python bench/start.py [--docs FOLDER] [--rounds 5]
"""

from __future__ import annotations

import os
import pty
import signal
import statistics
import subprocess
import sys
import time

from harness import Instep, arguments, workplace


def seconds(command: list[str], env: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=env, capture_output=True, check=True)
    return time.perf_counter() - started


def first_lines(instep: Instep, docs) -> tuple[float, float]:
    """Seconds to the first output of `up` on a terminal, and to `watching`."""
    parent, child = pty.openpty()
    started = time.perf_counter()
    process = subprocess.Popen(
        instep.command("up", docs), env=instep.env, stdout=child, stderr=child, close_fds=True
    )
    os.close(child)
    seen, first, watching = b"", 0.0, 0.0
    while not watching:
        seen += os.read(parent, 4096)
        first = first or time.perf_counter() - started
        if b"watching" in seen:
            watching = time.perf_counter() - started
    process.send_signal(signal.SIGTERM)
    while process.poll() is None:
        try:
            os.read(parent, 4096)
        except OSError:
            break
    process.wait(30)
    os.close(parent)
    return first, watching


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with workplace(args.docs, args.count) as (docs, data):
        instep = Instep(data)
        instep.json("up", docs, "--once")
        python = [seconds([sys.executable, "-c", "pass"], instep.env) for _ in range(args.rounds)]
        helps = [seconds(instep.command("--help")[:2], instep.env) for _ in range(args.rounds)]
        starts = [first_lines(instep, docs) for _ in range(args.rounds)]
        with instep.up(docs):
            search = instep.command("search", "how is a change found")
            asks = [seconds(search, instep.env) for _ in range(args.rounds + 1)][1:]
    bare = statistics.median(python)
    print(f"python -c pass         {bare * 1000:.0f} ms")
    print(f"instep --help          {statistics.median(helps) * 1000:.0f} ms")
    print(f"up: first line         {statistics.median(s[0] for s in starts) * 1000:.0f} ms")
    print(f"up: watching unchanged {statistics.median(s[1] for s in starts):.2f} s")
    print(f"search, running        {(statistics.median(asks) - bare) * 1000:.0f} ms above python")


if __name__ == "__main__":
    main()
