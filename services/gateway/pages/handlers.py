"""The pages, and the actions of their forms. Each asks operations, as a program would.

An action sends the browser on to a page that tells its outcome, so that to load it again does not
repeat it. Forms of other sites are refused before (`services.gateway.access.requests.check_site`).
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from aiohttp import web

from services.gateway.models import DocumentsRequest, FailuresRequest
from services.gateway.pages import overview as first
from services.gateway.pages.differences import changes
from services.gateway.pages.drawing import About, trend
from services.gateway.pages.frame import ask, go_on, show
from services.gateway.pages.history import history_main
from services.gateway.pages.report import report_header, report_main
from services.gateway.pages.words import link, notice
from services.gateway.problems import Problem, problem_of
from services.gateway.routes import ACCESS, FACES, TREND, query_fields, whole_body
from services.gateway.uploads.handlers import remove as send_removal
from services.gateway.views import DocumentAnswer, FailureGroup, FailuresAnswer, LeftOutAnswer
from shared.domain.errors import StillLoading, StoreUnavailable

CHUNKS: Final = 50
"""Chunks of a document on one page."""
SIMILAR: Final = 20
OUTCOME: Final = frozenset({"did", "done", "skipped"})
"""Fields of an address that tell the outcome of the action before."""
MOST_FIELDS: Final = 1_000
VALIDATIONS: Final = 50


async def overview(request: web.Request) -> web.Response:
    """Is it in step, what is wrong, what to do; then the flow, the documents and the sources."""
    status = await ask(request, "status")
    holds = (await ask(request, "removals")).holds
    groups = (await ask(request, "failures", limit=1)).groups
    ended = () if is_live(request) else (await ask(request, "batches", limit=TREND)).batches
    lines = [line for line in ended if line.freshness.p95_s is not None]
    needs = first.needs(status, holds, groups)
    p95 = [line.freshness.p95_s for line in reversed(lines)]
    said = f"Of the last {len(lines)} batches, oldest first."
    return show(
        request,
        "overview.html",
        "overview",
        status=status,
        head=first.headline(status, len(needs), is_whole=request[ACCESS].sources is None),
        needs=needs,
        lines=lines,
        chart=trend(About("p95", "95 % searchable within, seconds", said), p95, " s"),
        notice=notice(request.query),
    )


async def documents(request: web.Request) -> web.Response:
    """A list of documents, by state, source and path."""
    fields = query_fields(request.query, DocumentsRequest)
    found = await ask(request, "documents", **fields)
    sources = (await ask(request, "sources")).sources
    kept = {name: value for name, value in request.query.items() if name != "cursor"}
    more = link("/documents", **kept, cursor=found.next_cursor) if found.next_cursor else ""
    return show(
        request,
        "documents.html",
        "documents",
        found=found,
        asked=DocumentsRequest.model_validate(fields),
        sources=[source.name for source in sources],
        begin=link("/documents", **kept) if "cursor" in request.query else "",
        more=more,
    )


async def document(request: web.Request) -> web.Response:
    """Everything about one document; `show` is `chunks`, `diff` or `similar`."""
    shown, name = request.query.get("show", "chunks"), request.match_info["name"]
    found, away = await _found(request, name, chunks=shown == "chunks" and not is_live(request))
    history = await ask(request, "history", name=found.doc_key)
    of_store = {"diff": None, "changes": (), "similar": None}
    if not is_live(request):
        try:
            of_store |= await _of_store(request, found, shown)
        except (StoreUnavailable, StillLoading) as error:
            away = problem_of(error).detail
    chunks = found.chunks or ()
    begin = _place(request.query.get("from", ""), len(chunks))
    return show(
        request,
        "document.html",
        "documents",
        found=found,
        history=history,
        shown=shown,
        away=away,
        begin=begin,
        chunks=chunks[begin : begin + CHUNKS],
        following=begin + CHUNKS if len(chunks) > begin + CHUNKS else 0,
        is_sent=await _is_sent(request, found.source),
        notice=notice(request.query),
        **of_store,
    )


def is_live(request: web.Request) -> bool:
    """Whether a page is asked for its parts that follow by themselves (`live.js`)."""
    return "Instep-Live" in request.headers


async def _found(request: web.Request, name: str, *, chunks: bool) -> tuple[DocumentAnswer, str]:
    """A document, and why its chunks are not there, where the store does not answer."""
    try:
        return await ask(request, "document", name=name, chunks=chunks), ""
    except (StoreUnavailable, StillLoading) as error:
        if not chunks:
            raise
        return await ask(request, "document", name=name, chunks=False), problem_of(error).detail


def _place(told: str, count: int) -> int:
    """The first chunk to show; 0 for a place that is none."""
    place = int(told) if told.isascii() and told.isdecimal() and len(told) < 7 else 0
    return place if place < count else 0


async def _of_store(request: web.Request, found: DocumentAnswer, shown: str) -> dict[str, Any]:
    """What the newest revision changed, or similar documents (a text: why there are none).

    Raises:
        StoreUnavailable, StillLoading: the store does not answer.
    """
    if shown == "diff":
        diff = await ask(request, "diff", name=found.doc_key)
        paired = await asyncio.to_thread(changes, diff.removed_chunks, diff.added_chunks)
        return {"diff": diff, "changes": paired}
    if shown != "similar":
        return {}
    try:
        return {"similar": await ask(request, "similar", name=found.doc_key, limit=SIMILAR)}
    except Problem as problem:
        if problem.code != "not_searchable":
            raise
        return {"similar": problem.detail}


async def _is_sent(request: web.Request, source: str) -> bool:
    """Whether documents of the source are sent to instep: those of a watched one come back."""
    try:
        view = await ask(request, "source", source=source)
    except Problem as problem:
        if problem.code != "source_not_found":
            raise
        return True
    return bool(view.kind == "push")


async def failures(request: web.Request) -> web.Response:
    """Refused and failed documents by reason, with the fix."""
    asked = {name: value for name, value in request.query.items() if name not in OUTCOME}
    found = await ask(request, "failures", **query_fields(asked, FailuresRequest))
    return show(
        request,
        "failures.html",
        "failures",
        found=found,
        asked=asked,
        picks=[_pick(found, group, asked) for group in found.groups],
        notice=notice(request.query),
    )


def _pick(
    found: FailuresAnswer, group: FailureGroup, asked: Mapping[str, str]
) -> dict[str, str | list[str]]:
    """The fields that choose the failures of a group, and no others. Pure.

    The filter of the page does, unless it names a state, or another group has the same code: then
    those that are listed are named.
    """
    if not asked.get("state") and sum(one.code == group.code for one in found.groups) == 1:
        kept = {name: asked[name] for name in ("source", "path", "stage") if asked.get(name)}
        return {"code": group.code, **kept}
    of_group = (one for one in found.failures if (one.code, one.state) == (group.code, group.state))
    return {"ids": [one.id for one in of_group]}


async def removals(request: web.Request) -> web.Response:
    """Removals that wait for a person."""
    found = await ask(request, "removals")
    return show(request, "removals.html", "removals", found=found, notice=notice(request.query))


async def sources(request: web.Request) -> web.Response:
    """All sources, with what they leave out."""
    found = (await ask(request, "sources")).sources
    return show(request, "sources.html", "sources", found=found, notice=notice(request.query))


async def source(request: web.Request) -> web.Response:
    """One source: its faults, and what it leaves out by which rule."""
    name = request.match_info["source"]
    view = await ask(request, "source", source=name)
    left_out: LeftOutAnswer | None = None
    try:
        left_out = await ask(request, "left_out", name=name)
    except Problem as problem:
        if problem.code not in ("not_watched", "document_not_found", "forbidden"):
            raise
    return show(request, "source.html", "sources", source=view, left_out=left_out)


async def batches(request: web.Request) -> web.Response:
    """Open batches, those that ended, and validations."""
    fields = dict(request.query)
    found = await ask(request, "batches", **fields)
    of = fields.get("source", "")
    validations = (await ask(request, "validations", source=of, limit=VALIDATIONS)).validations
    more = link("/batches", **fields | {"cursor": found.next_cursor}) if found.next_cursor else ""
    main = history_main(found.batches, validations, of, at="/batches")
    return show(request, "batches.html", "batches", found=found, main=main, source=of, more=more)


async def batch(request: web.Request) -> web.Response:
    """The report of a batch, or how far an open one is."""
    fields = {"batch": request.match_info["batch"], "source": request.query.get("source", "")}
    try:
        report = await ask(request, "report", **fields)
    except Problem as problem:
        if problem.code != "batch_not_found":
            raise
        found = await ask(request, "batch", **fields)
        return show(request, "open_batch.html", "batches", found=found)
    near = await ask(request, "batches", source=report.batch.source, limit=TREND)
    return show(
        request,
        "batch.html",
        "batches",
        report=report,
        header=report_header(report),
        main=report_main(report, near.batches),
    )


# -- actions


async def retry(request: web.Request) -> web.Response:
    """Send the chosen documents again."""
    return await _chosen(request, "retry")


async def dismiss(request: web.Request) -> web.Response:
    """List the chosen failures no more."""
    return await _chosen(request, "dismiss")


async def _chosen(request: web.Request, action: str) -> web.Response:
    form = await _form(request)
    picked = {name: form[name][-1] for name in ("source", "code", "path", "stage") if name in form}
    # the list of a page may be a moment old
    answer = await ask(request, action, ids=form.get("ids", ()), lenient=True, **picked)
    if not answer.done and answer.items:
        details = dict.fromkeys(one.detail for one in answer.items if one.detail)
        return show(request, "not_done.html", "failures", details=list(details), back="/failures")
    back = f"/documents/{form['document'][-1]}" if "document" in form else "/failures"
    return go_on(back, did=action, done=answer.done, skipped=answer.skipped or None)


async def approve(request: web.Request) -> web.Response:
    """Take the documents of a source out of the index that have vanished."""
    return await _decided(request, "approve", "/removals")


async def reject(request: web.Request) -> web.Response:
    """Keep them."""
    return await _decided(request, "reject", "/removals")


async def forget(request: web.Request) -> web.Response:
    """Take all documents of a source out of the index that is not watched."""
    return await _decided(request, "forget", "/sources")


async def _decided(request: web.Request, action: str, back: str) -> web.Response:
    answer = await ask(request, action, source=request.match_info["source"])
    if not answer.done:
        return show(request, "not_done.html", back[1:], details=[answer.detail], back=back)
    return go_on(back, did=action, done=answer.documents)


async def remove(request: web.Request) -> web.Response:
    """Delete a document that was sent to instep."""
    found = await ask(request, "document", name=request.match_info["name"], chunks=False)
    uploads = request[FACES].uploads
    if uploads is None:
        raise Problem("unavailable", "no instance runs that takes documents")
    await send_removal(uploads, found.source, found.path)
    return go_on(f"/documents/{found.doc_key}", did="remove")


async def compare(request: web.Request) -> web.Response:
    """Compare sources, ledger and index in the background, and repair what differs."""
    await ask(request, "generate")
    return go_on("/", did="compare")


async def _form(request: web.Request) -> dict[str, list[str]]:
    """The fields of a form. Raises Problem `malformed`."""
    try:
        return parse_qs((await whole_body(request)).decode("ascii"), max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Problem("malformed", "the body is not that of a form of this page") from None
