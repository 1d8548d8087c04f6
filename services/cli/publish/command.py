"""`instep publish`."""

import time
import uuid
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from services.cli import exits
from services.cli.api import client
from services.cli.api.ask import find, key_of, running
from services.cli.publish.submissions import Faulty, Submission, of_args, with_batch
from services.cli.suggest import check_name
from services.cli.terminal import note, plural, print_json, seconds, visible
from services.host.options import Options
from shared.domain.submissions import MAX_BYTES

if TYPE_CHECKING:
    from services.cli.publish.sending import Sent

CODES: Final = {"document_too_large": "too_large"}
"""Codes of submissions that have another name over HTTP."""
PAUSE_S: Final = 0.5
"""Before a gateway that is away is asked for a receipt again."""


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
    receipts: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    timed_out: bool = False


def run(args: Namespace, options: Options) -> int:
    """Send documents, print receipts, and with `--wait` wait until they are searchable."""
    check_name(args.source)
    items = of_args(args, _most_bytes(args.source, options))
    good = [item for item in items if isinstance(item, Submission)]
    outcome = Outcome(batch=f"b_{uuid.uuid4().hex[:16]}")
    gateway = running(options) if good else ""
    sent = _send(good, args.source, outcome.batch, gateway, options)
    for item in items:
        if isinstance(item, Faulty):
            _refuse(outcome, item.where, item.path, item.code, item.detail, options)
        elif one := next(sent, None):
            _record(one, outcome, options)
    try:
        if gateway and args.wait is not None:
            _wait(gateway, outcome, args.wait, options)
    finally:  # what was accepted is told also where the wait is broken off
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
    """The exit status: a fault needs a person."""
    if outcome.timed_out:
        return exits.TIMED_OUT
    needs_you = outcome.refused or outcome.failed
    return exits.NEEDS_YOU if needs_you else exits.DONE


def summary(outcome: Outcome) -> str:
    """`3 documents accepted, 1 refused`."""
    parts = [f"{plural(outcome.accepted, 'document')} accepted"]
    if outcome.refused:
        parts.append(f"{outcome.refused:,} refused")
    if outcome.failed:
        parts.append(f"{outcome.failed:,} failed")
    if outcome.timed_out:
        left = sum(not receipt.get("final") for receipt in outcome.receipts)
        parts.append(f"{left:,} not searchable yet")
    return ", ".join(parts)


def _send(
    items: Sequence[Submission], source: str, batch: str, gateway: str, options: Options
) -> "Iterator[Sent]":
    """Send all as one batch; the outcomes in order, as they come."""
    if not items:
        return iter(())
    from instep.client import Client
    from services.cli.publish.sending import Sender

    def reach() -> Client:
        url = find(options) or gateway
        return Client(url, key=key_of(options, url), again=())

    numbered = with_batch(items, source, batch, datetime.now(UTC))
    return Sender(reach, source, f"publish-{uuid.uuid4().hex}").send(numbered)


def _record(sent: "Sent", outcome: Outcome, options: Options) -> None:
    item, line = sent.submission, sent.line
    if line is None:
        _refuse(outcome, item.where, item.path, sent.code, sent.detail, options)
        return
    is_stale = line.code == "stale_version" and bool(line.receipt)
    if line.code and not is_stale:
        code = CODES.get(line.code, line.code)
        _refuse(outcome, item.where, item.path, code, line.detail or "", options)
        return
    outcome.accepted += 1
    receipt = line.model_dump(mode="json", include={"state", "receipt", "document", "detail"})
    told = {"path": item.path, "where": item.where, "final": False, **_known(receipt)}
    outcome.receipts.append(told)
    if not options.json and not options.quiet:
        detail = f"   {told['detail']}" if told.get("detail") else ""
        print(f"{told['state']}  {item.path}  {told['receipt']}{detail}")


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
    deadline = time.monotonic() + wait_s
    for line in outcome.receipts:
        if not line.get("receipt"):
            outcome.timed_out = True
            continue
        while not line["final"]:
            left = max(0.0, deadline - time.monotonic())
            line.update(_receipt(gateway, line["receipt"], left, options))
            if left <= 0:
                break
        outcome.timed_out |= not line["final"]
        if line.get("outcome") in ("refused", "failed"):
            _give_up(outcome, line, options)
        elif not options.json and not options.quiet:
            took = f" in {seconds(line['freshness_s'])}" if line.get("freshness_s") else ""
            print(f"{line['outcome'] or line['state']}  {line['path']}{took}")


def _receipt(gateway: str, receipt: str, left: float, options: Options) -> dict[str, Any]:
    """What the gateway tells of a receipt within a while; nothing where it is away.

    Args:
        left: seconds until it has to answer. It may be starting anew, and elsewhere.
    """
    url = find(options) or gateway
    fields = {"receipt": receipt, "wait": round(min(left, 30.0), 2)}
    try:
        return client.ask(url, "receipt", fields, key=key_of(options, url), timeout_s=60.0)
    except exits.Stop as stop:
        if stop.status != exits.NOT_REACHABLE or left <= 0:
            raise
        time.sleep(min(left, PAUSE_S))
        return {}


def _body(outcome: Outcome) -> dict[str, Any]:
    return {
        "batch": outcome.batch,
        "accepted": outcome.accepted,
        "refused": outcome.refused,
        "failed": outcome.failed,
        "timed_out": outcome.timed_out,
        "receipts": outcome.receipts,
        "errors": outcome.errors,
    }
