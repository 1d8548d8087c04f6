"""`instep publish`."""

import asyncio
import importlib
import time
import uuid
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from services.cli import exits
from services.cli.api import client
from services.cli.api.ask import find, key_of, no_gateway
from services.cli.exits import unreachable
from services.cli.publish.submissions import Faulty, Submission, of_args, with_batch
from services.cli.suggest import check_name
from services.cli.terminal import note, plural, print_json, seconds, visible
from services.host.data_folder import DataFolder, FolderInUse
from services.host.options import Options
from shared.domain.submissions import MAX_BYTES

if TYPE_CHECKING:  # the bus's client comes in only when something is sent
    from services.cli.publish.intake import Sent
    from shared.bus.access.connect import Access


@dataclass(frozen=True, slots=True)
class Error:
    """A document that was not taken; `where` says in which file and line it stands."""

    where: str
    path: str
    code: str
    detail: str


@dataclass(slots=True)
class Outcome:
    """The outcome of a `publish`, as `--json` prints it."""

    batch: str
    accepted: int = 0
    refused: int = 0
    failed: int = 0
    """Known with `--wait` only; so are some of the refused ones."""
    waiting: int = 0
    """Stored on the bus, but no service has taken them yet."""
    receipts: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    timed_out: bool = False


def run(args: Namespace, options: Options) -> int:
    """Send documents, print receipts, and with `--wait` wait until they are searchable."""
    check_name(args.source)
    items = of_args(args, _most_bytes(args.source, options))
    good = [item for item in items if isinstance(item, Submission)]
    outcome = Outcome(batch=f"b_{uuid.uuid4().hex[:16]}")
    gateway = find(options) if good and args.wait is not None else None
    if good and args.wait is not None and gateway is None and options.settings().bus.url:
        raise no_gateway()  # before anything is sent
    sent = iter(_send(good, args.source, outcome.batch, options) if good else ())
    for item in items:
        if isinstance(item, Faulty):
            _refuse(outcome, item.where, item.path, item.code, item.detail, options)
        elif one := next(sent, None):
            _record(one, outcome, options)
    if gateway is not None:
        _wait(gateway, outcome, args.wait, options)
    if options.json:
        print_json(_body(outcome))
    else:
        note(summary(outcome))
    return status(outcome)


def _most_bytes(source: str, options: Options) -> int:
    """The size of a document that is sent at all; the producer has the last word."""
    known = options.settings().sources.get(source)
    return known.max_bytes if known else MAX_BYTES


def status(outcome: Outcome) -> int:
    """The exit status: a fault needs a person, and so do submissions without a producer."""
    if outcome.timed_out:
        return exits.TIMED_OUT
    needs_you = outcome.refused or outcome.failed or outcome.waiting
    return exits.NEEDS_YOU if needs_you else exits.DONE


def summary(outcome: Outcome) -> str:
    """`3 documents accepted, 1 refused`."""
    parts = [f"{plural(outcome.accepted, 'document')} accepted"]
    if outcome.refused:
        parts.append(f"{outcome.refused:,} refused")
    if outcome.failed:
        parts.append(f"{outcome.failed:,} failed")
    if outcome.waiting:
        parts.append(f"{outcome.waiting:,} stored on the bus, but no producer has taken them")
    if outcome.timed_out:
        left = sum(not receipt.get("final") for receipt in outcome.receipts)
        parts.append(f"{left:,} not searchable yet")
    return ", ".join(parts)


def _send(items: Sequence[Submission], source: str, batch: str, options: Options) -> "list[Sent]":
    from services.cli.publish.intake import send
    from shared.bus.access.connect import access_of
    from shared.bus.access.permissions import PUBLISHER

    numbered = with_batch(items, source, batch, datetime.now(UTC))
    access, name = access_of(options.settings().bus, PUBLISHER), uuid.uuid4().hex
    url = _bus_url(options)
    if url is None:
        try:
            return asyncio.run(_stored(options, access, source, numbered, name))
        except FolderInUse:
            url = _bus_url(options)  # it has just started
            if url is None:
                raise
    return asyncio.run(send(url, access, source, numbered, name))


async def _stored(
    options: Options, access: "Access", source: str, items: Sequence[Submission], name: str
) -> "list[Sent]":
    """Put submissions on the bundled bus, where the next instance finds them."""
    from services.cli.publish.intake import send
    from shared.observe import logs

    runtime: Any = importlib.import_module("services.host.runtime")
    settings = options.settings()
    logs.configure(settings.telemetry)
    async with runtime.bus(settings, options.data, runtime.Shutdown(), briefly=True) as url:
        return await send(url, access, source, items, name, wait_s=0.0)


def _bus_url(options: Options) -> str | None:
    """The server of the settings, else that of the running instance; None where none runs.

    Raises:
        Stop: no instance has ever run here, or the options name a gateway without its bus.
    """
    url = options.settings().bus.url
    if url is None:
        folder = DataFolder(options.data)
        instance = folder.read_instance()
        url = instance.nats_url if instance else None
        if url is None and (gateway := find(options)) is not None:
            raise unreachable(
                f"no instance runs in {options.data}, and documents reach that of {gateway} over "
                "its bus only",
                "set INSTEP_BUS__URL",
            )
        if url is None and not folder.holds_an_index():
            raise unreachable(f"nothing is indexed here: {options.data}", "instep up PATH")
    return url


def _record(sent: "Sent", outcome: Outcome, options: Options) -> None:
    item, receipt = sent.submission, sent.receipt
    if sent.error:
        _refuse(outcome, item.where, item.path, sent.code, sent.error, options)
    elif receipt is None:
        outcome.waiting += 1
        line = {"path": item.path, "where": item.where, "state": "submitted", "final": False}
        outcome.receipts.append(line)
    elif receipt.get("state") == "refused":
        code, detail = receipt.get("code") or "refused", receipt.get("detail") or ""
        _refuse(outcome, item.where, item.path, code, detail, options)
    else:
        outcome.accepted += 1
        line = {"path": item.path, "where": item.where, "final": False, **_known(receipt)}
        outcome.receipts.append(line)
        if not options.json and not options.quiet:
            detail = f"   {line['detail']}" if line.get("detail") else ""
            print(f"{line['state']}  {item.path}  {line['receipt']}{detail}")


def _refuse(
    outcome: Outcome, where: str, path: str, code: str, detail: str, options: Options
) -> None:
    outcome.refused += 1
    _tell(outcome, "refused", Error(where, path, code, detail), options)


def _give_up(outcome: Outcome, line: Mapping[str, Any], options: Options) -> None:
    """An accepted document that the enricher refused, or that failed, by its receipt."""
    reason, path = line.get("reason") or {}, str(line["path"])
    word = str(line["outcome"])
    outcome.accepted -= 1
    outcome.refused += word == "refused"
    outcome.failed += word == "failed"
    code, detail = reason.get("code") or word, reason.get("text") or ""
    error = Error(str(line["where"]), path, code, detail)
    _tell(outcome, word, error, options)


def _tell(outcome: Outcome, word: str, error: Error, options: Options) -> None:
    outcome.errors.append(asdict(error))
    if not options.json:
        known = error.path not in ("", error.where)
        name = f"{error.path} ({error.where})" if known else error.where
        print(visible(f"{word}  {name}  {error.code}: {error.detail}"))


def _known(receipt: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in receipt.items() if value is not None}


def _wait(gateway: str, outcome: Outcome, wait_s: float, options: Options) -> None:
    """Ask for every receipt until it is final or the time is over."""
    deadline, key = time.monotonic() + wait_s, key_of(options, gateway)
    for line in outcome.receipts:
        if not line.get("receipt"):
            outcome.timed_out = True
            continue
        while not line["final"]:
            left = max(0.0, deadline - time.monotonic())
            fields = {"receipt": line["receipt"], "wait": round(min(left, 30.0), 2)}
            line.update(client.ask(gateway, "receipt", fields, key=key, timeout_s=60.0))
            if left <= 0:
                break
        outcome.timed_out |= not line["final"]
        if line.get("outcome") in ("refused", "failed"):
            _give_up(outcome, line, options)
        elif not options.json and not options.quiet:
            took = f" in {seconds(line['freshness_s'])}" if line.get("freshness_s") else ""
            print(f"{line['outcome'] or line['state']}  {line['path']}{took}")


def _body(outcome: Outcome) -> dict[str, Any]:
    return {
        "batch": outcome.batch,
        "accepted": outcome.accepted,
        "refused": outcome.refused,
        "failed": outcome.failed,
        "waiting": outcome.waiting,
        "timed_out": outcome.timed_out,
        "receipts": outcome.receipts,
        "errors": outcome.errors,
    }
