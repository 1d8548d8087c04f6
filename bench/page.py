"""What the page costs: requests, bytes, first paint, pages that stay open. `python -m bench.page`.

An instance watches `--count` documents with a model that computes nothing. The first paint is told
beside that of the plainest answer of the same gateway in the same browser, as a ratio, because
machines are shared; processor time is that of the instance, with all its processes. `--ledger N`
writes the records of as many more documents, which have no files and no rows.
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import nats

from bench.browser import chromium
from bench.harness import Instep, arguments, children, workplace
from bench.status import fill

ROUNDS: Final = 15
OPEN: Final = 50
WATCHED_S: Final = 30.0
PAINT: Final = """() => new Promise(done => {
  const told = () => performance.getEntriesByName("first-contentful-paint")[0];
  const wait = () => told() ? done(told().startTime) : setTimeout(wait, 5);
  wait();
})"""


def cpu_s(pid: int) -> float:
    """Processor time of a process and its children by now."""
    ticks = 0
    for each in [pid, *children(pid)]:
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--ledger", type=int, default=0, help="records written beside them")
    args = parser.parse_args()
    with workplace(args.docs, args.count) as (docs, data):
        instep = Instep(data, INSTEP_EMBEDDING__MODEL="fake-384", INSTEP_SWEEP__EVERY="0 s")
        with instep.up(docs) as process:
            if args.ledger:
                asyncio.run(_fill(instep, args.ledger))
            print(f"{args.count + args.ledger} documents")
            with chromium() as browser:
                base = instep.gateway()
                for path in ("/", "/documents", "/search?q=document", "/upload"):
                    _loads(browser, base, path)
                _paints(browser, base, lambda: cpu_s(process.pid))
                _stay_open(browser, base, lambda: cpu_s(process.pid))


async def _fill(instep: Instep, count: int) -> None:
    """Records of documents that are nowhere else, and the gateway's knowledge of them."""
    generation = instep.json("status")[0]["generation"]
    client = await nats.connect(instep.nats())
    await fill(client, count, generation)
    await client.close()
    while sum(instep.json("status")[0]["documents"].values()) < count:
        await asyncio.sleep(0.5)


def _loads(browser: Any, base: str, path: str) -> None:
    """Requests and bytes, headers included, of a browser that was never here."""
    context = browser.new_context(base_url=base)
    tab = context.new_page()
    devtools = context.new_cdp_session(tab)
    sizes: list[float] = []
    devtools.send("Network.enable")
    devtools.on("Network.loadingFinished", lambda done: sizes.append(done["encodedDataLength"]))
    tab.goto(path, wait_until="load")
    tab.wait_for_timeout(300)
    first, sizes[:] = [*sizes], []
    tab.reload(wait_until="load")
    tab.wait_for_timeout(300)
    print(
        f"{path}: {len(first)} requests, {sum(first) / 1024:.1f} KB; "
        f"again {len(sizes)}, {sum(sizes) / 1024:.1f} KB"
    )
    context.close()


def _paints(browser: Any, base: str, used: Callable[[], float]) -> None:
    """First paint of the overview against that of `/livez`, in pairs, files known."""
    context = browser.new_context(base_url=base)
    tab = context.new_page()
    ratios, paints, costs = [], [], []
    tab.goto("/")
    for _ in range(ROUNDS):
        tab.goto("/livez")
        plain = tab.evaluate(PAINT)
        before = used()
        tab.goto("/")
        paint = tab.evaluate(PAINT)
        costs.append(used() - before)
        paints.append(paint)
        ratios.append(paint / plain)
    print(
        f"first paint of the overview: median {statistics.median(paints):.0f} ms, "
        f"{statistics.median(ratios):.2f} x that of /livez; "
        f"processor {1000 * statistics.mean(costs):.0f} ms of the instance a load"
    )
    context.close()


def _stay_open(browser: Any, base: str, used: Callable[[], float]) -> None:
    """Streams and processor time of many open overviews in one browser."""
    idle = _rate(used)
    context = browser.new_context(base_url=base)
    streams: set[Any] = set()

    def end(request: Any) -> None:
        streams.discard(request)

    context.on("request", lambda one: "/events" in one.url and streams.add(one))
    context.on("requestfailed", end)
    context.on("requestfinished", end)
    tabs = [context.new_page() for _ in range(OPEN)]
    for tab in tabs:
        tab.goto("/")
    tabs[-1].wait_for_timeout(2_000)
    busy = _rate(used, tabs[-1])
    print(
        f"{OPEN} open overviews, each taken for seen: {len(streams)} streams; "
        f"processor {100 * busy:.1f} % of a core, {100 * idle:.1f} % without them"
    )
    context.close()


def _rate(used: Callable[[], float], tab: Any = None) -> float:
    """Processor seconds a second over WATCHED_S."""
    began, before = time.monotonic(), used()
    if tab is None:
        time.sleep(WATCHED_S)
    else:
        tab.wait_for_timeout(1000 * WATCHED_S)
    return (used() - before) / (time.monotonic() - began)


if __name__ == "__main__":
    main()
