"""The pages that show something. Each asks operations, and puts their answers into a template."""

from aiohttp import web

from services.gateway.pages import overview as first
from services.gateway.pages.drawing import About, trend
from services.gateway.pages.frame import ask, show
from services.gateway.routes import ACCESS, TREND


async def overview(request: web.Request) -> web.Response:
    """Is it in step, what is wrong, what to do; then the flow, the documents and the sources."""
    status = await ask(request, "status")
    holds = (await ask(request, "removals")).holds
    groups = (await ask(request, "failures", limit=1)).groups
    lines = (await ask(request, "batches", limit=TREND)).batches
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
    )
