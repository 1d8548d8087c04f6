"""What the benchmarks share: a corpus, the command line as processes, and plain statistics."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

MANUAL = Path(__file__).parent.parent / "examples" / "docs"


def corpus(folder: Path, count: int, *, seed: int = 7) -> None:
    """Markdown files of about 4 KB: sentences of the manual in another order in each file."""
    sentences = sorted(
        {
            sentence.strip()
            for path in MANUAL.rglob("*.md")
            for sentence in path.read_text().replace("\n", " ").split(". ")
            if 40 < len(sentence) < 300 and "|" not in sentence and "`" not in sentence
        }
    )
    chance = random.Random(seed)
    folder.mkdir(parents=True)
    for n in range(count):
        lines = [f"# Note {n}: {chance.choice(sentences)[:50]}"]
        for section in range(chance.randint(3, 7)):
            lines.append(f"## Part {section} of {n}")
            lines += [
                f"{'. '.join(chance.choices(sentences, k=chance.randint(2, 5)))}."
                for _ in range(chance.randint(1, 4))
            ]
        path = folder / f"d{n // 50}" / f"n{n}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n\n".join(lines) + "\n")


@contextmanager
def workplace(
    docs: Path | None, count: int, keep: Path | None = None
) -> Iterator[tuple[Path, Path]]:
    """A copy of the documents and an empty data folder; or those that an earlier run kept."""
    if keep and keep.exists():
        yield keep / "docs", keep / "data"
        return
    with ExitStack() as stack:
        if keep:
            keep.mkdir(parents=True)
        root = keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="instep-bench-"))
        folder = Path(root) / "docs"
        if docs:
            shutil.copytree(docs, folder)
        else:
            corpus(folder, count)
        yield folder, Path(root) / "data"


class Instep:
    """The command line with one data folder."""

    def __init__(self, data: Path, **env: str) -> None:
        self.data = data
        clean = {k: v for k, v in os.environ.items() if not k.startswith("INSTEP_")}
        self.env = clean | {"NO_COLOR": "1", "INSTEP_GATEWAY__AUTH": "none"} | env

    def command(self, *args: object) -> list[str]:
        executable = str(Path(sys.executable).parent / "instep")
        return [executable, *map(str, args), "--data", str(self.data)]

    def json(self, *args: object) -> tuple[dict[str, Any], float]:
        """The object that a command prints, and the seconds it took as a process."""
        started = time.perf_counter()
        done = subprocess.run(
            self.command(*args, "--json"), env=self.env, capture_output=True, text=True, check=False
        )
        took = time.perf_counter() - started
        if done.returncode != 0:
            raise SystemExit(f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return json.loads(done.stdout), took

    @contextmanager
    def up(self, *args: object) -> Iterator[subprocess.Popen[bytes]]:
        """`instep up`, until it is in step; stopped at the end."""
        with (self.data.parent / "up.log").open("w") as log:
            process = subprocess.Popen(
                self.command("up", *args), env=self.env, stdout=log, stderr=log
            )
        try:
            wait_until(lambda: self.in_step(process), 600)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)

    def in_step(self, process: subprocess.Popen[bytes]) -> bool:
        if process.poll() is not None:
            raise SystemExit((self.data.parent / "up.log").read_text())
        done = subprocess.run(
            self.command("status", "--json"),
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode == 0 and json.loads(done.stdout)["in_step"]

    def gateway(self) -> str:
        """Address of the running instance."""
        return str(self._instance()["gateway_url"])

    def nats(self) -> str:
        """Address of its bus."""
        return str(self._instance()["nats_url"])

    def _instance(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.data / "instance.json").read_text())
        return found


def wait_until(true: Callable[[], bool], within_s: float, every_s: float = 0.05) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit("timed out")
        time.sleep(every_s)


def resident_mb(pid: int) -> float:
    """Resident memory of a process and its children, in MB (proportional set size)."""
    return sum(own_mb(each) for each in (pid, *children(pid)))


def own_mb(pid: int) -> float:
    """The same of a process alone."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(p) for p in listed]


def spread(values: list[float]) -> str:
    ordered = sorted(values)
    at = lambda q: ordered[min(len(ordered) - 1, int(q * len(ordered)))]  # noqa: E731
    return (
        f"p50 {statistics.median(ordered):.1f}  p95 {at(0.95):.1f}  "
        f"min {ordered[0]:.1f}  max {ordered[-1]:.1f}  (n={len(ordered)})"
    )


def arguments(description: str, *, count: int = 200) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--docs", type=Path, help="a folder of documents; default: made here")
    parser.add_argument("--count", type=int, default=count, help="documents, when made here")
    return parser
