"""Edit the same paragraph under two versions of instep, in turns: which one is faster, by how much?

    python bench/pairs.py BEFORE AFTER [--edits 60] [--model fake-384] [--pause 0.2]
                          [--beside 25 --turns 8]

BEFORE and AFTER are checkouts. Each runs its own `instep up` over its own copy of the same
documents, both at once; an edit goes to one while the other is idle, then to the other, and which
comes first changes with each pair. So both meet the same machine. What is printed of the paired
differences is the median and its 95 % interval, by resampling; processor time is of the whole run
after the first pass, the idle time of each included, over the number of edits.

With --beside, so many other files are edited every second while one has its turn of `--turn`
seconds; it ends when the checkout is in step again. Each turn gives one value of each figure: p50
and p95 of the edits that are searched for, and processor time per edit of any file.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edit import Asker, edit, editing, paragraphs
from harness import Instep, children, corpus, resident_mb, spread, wait_until

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Checkout(Instep):
    """The command line of another checkout, by this interpreter."""

    def __init__(self, tree: Path, data: Path, **env: str) -> None:
        # the working directory must not come first: it may be one of the two
        super().__init__(data, **env, PYTHONPATH=str(tree.resolve()), PYTHONSAFEPATH="1")

    def command(self, *args: object) -> list[str]:
        return [sys.executable, "-m", "services", *map(str, args), "--data", str(self.data)]


@dataclass
class Side:
    """One checkout with its documents."""

    docs: Path
    gateway: str
    pid: int
    took_ms: list[float] = field(default_factory=list)
    processor_s: float = 0.0

    def used_s(self) -> float:
        total = 0
        for pid in [self.pid, *children(self.pid)]:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total * TICK_S


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--edits", type=int, default=60, help="of each")
    parser.add_argument("--count", type=int, default=200, help="documents")
    parser.add_argument("--model", help="e.g. fake-384")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between edits")
    parser.add_argument("--beside", type=float, default=0, help="other edits a second")
    parser.add_argument("--turns", type=int, default=8, help="of each, with --beside")
    parser.add_argument("--turn", type=float, default=10.0, help="seconds of edits of a turn")
    args = parser.parse_args()
    env = {"INSTEP_EMBEDDING__MODEL": args.model} if args.model else {}
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="instep-bench-")))
        sides = [
            start(stack, root / name, tree, args.count, env)
            for name, tree in (("before", args.before), ("after", args.after))
        ]
        if args.beside:
            under_load(sides, args)
            return
        take_turns(sides, args.edits, args.pause)
        for name, side in zip(("before", "after"), sides, strict=True):
            used = f"{side.processor_s / args.edits * 1000:.0f} ms of processor an edit"
            print(f"{name:7}{spread(side.took_ms)}  {used}  {resident_mb(side.pid):.0f} MB")
    before, after = (side.took_ms for side in sides)
    print_differences([b - a for a, b in zip(before, after, strict=True)], before)


def start(
    stack: contextlib.ExitStack, place: Path, tree: Path, count: int, env: dict[str, str]
) -> Side:
    place.mkdir()
    corpus(place / "docs", count)
    instep = Checkout(tree, place / "data", **env)
    process = stack.enter_context(instep.up(place / "docs"))
    return Side(place / "docs", instep.gateway(), process.pid)


def take_turns(sides: Sequence[Side], edits: int, pause_s: float) -> None:
    chance = random.Random(5)
    names = [file.relative_to(sides[0].docs) for file in sorted(sides[0].docs.rglob("*.md"))]
    names = [name for name in names if paragraphs((sides[0].docs / name).read_text())]
    began = [side.used_s() for side in sides]
    askers = [Asker(side.gateway) for side in sides]
    for n in range(edits):
        name, seed = chance.choice(names), chance.random()
        turns = list(zip(sides, askers, strict=True))
        for side, asker in turns if n % 2 else reversed(turns):
            word = f"quux{n}zyx{chance.randrange(10**6)}"
            same = random.Random(seed)
            side.took_ms.append(edit(side.docs / name, word, same, asker, side.docs))
            time.sleep(pause_s)
    for side, used in zip(sides, began, strict=True):
        side.processor_s = side.used_s() - used


def under_load(sides: Sequence[Side], args: argparse.Namespace) -> None:
    """Print the paired differences of turns with other edits beside them."""
    found: list[list[dict[str, float]]] = [[], []]
    for n in range(args.turns):
        for which in (0, 1) if n % 2 else (1, 0):
            found[which].append(one_turn(sides[which], n, args))
    for figure in found[0][0]:
        before, after = ([turn[figure] for turn in turns] for turns in found)
        print(f"{figure}: {spread(before)} | {spread(after)}")
        print_differences([b - a for a, b in zip(before, after, strict=True)], before)


def one_turn(side: Side, n: int, args: argparse.Namespace) -> dict[str, float]:
    """Edit for a turn, until everything is in step."""
    chance = random.Random(n)
    asker = Asker(side.gateway)  # the gateway closes a connection that was idle for a turn
    files = [f for f in sorted(side.docs.rglob("*.md")) if paragraphs(f.read_text())]
    half = len(files) // 2
    began, until, took = side.used_s(), time.monotonic() + args.turn, []
    with editing(files[:half], args.beside) as others:
        while time.monotonic() < until:
            word = f"quux{n}zyx{chance.randrange(10**9)}"
            took.append(edit(chance.choice(files[half:]), word, chance, asker, side.docs))
            time.sleep(args.pause)
    wait_until(lambda: asker.get("/api/v1/status")["in_step"], 120)
    used_ms = (side.used_s() - began) * 1000
    ordered = sorted(took)
    return {
        "p50, ms": statistics.median(ordered),
        "p95, ms": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        "processor, ms an edit": used_ms / (len(others) + len(took)),
    }


def print_differences(differences: Sequence[float], before: Sequence[float]) -> None:
    chance = random.Random(3)
    medians = sorted(
        statistics.median(chance.choices(differences, k=len(differences))) for _ in range(2000)
    )
    median = statistics.median(differences)
    low, high = medians[50], medians[-51]
    share = 100 / statistics.median(before)
    print(
        f"after - before: {median:+.1f} (95 %: {low:+.1f} to {high:+.1f}), "
        f"that is {median * share:+.1f} % ({low * share:+.1f} to {high * share:+.1f})"
    )


if __name__ == "__main__":
    main()
