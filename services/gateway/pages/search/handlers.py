"""The page for questions."""

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from services.gateway.answers import may
from services.gateway.operations import OPERATIONS
from services.gateway.pages.frame import ask, show
from services.gateway.pages.search.copy_as import as_command, as_curl, as_python
from services.gateway.pages.search.form import (
    MODES,
    SearchForm,
    form_of,
    limits,
    places_of,
    tops_of,
)
from services.gateway.pages.search.hits import LABELS, shown
from services.gateway.problems import Problem, problem_of
from services.gateway.routes import ACCESS, FACES
from services.gateway.views import SearchAnswer
from shared.domain.errors import InstepError


@dataclass(frozen=True, slots=True)
class Slider:
    """A weight that the form asks for."""

    name: str
    label: str
    value: float
    top: float


async def search(request: web.Request) -> web.Response:
    """The form, and the answer if something is asked; what is wrong is told at its field."""
    form, answer, faults = form_of(request.query), None, dict[str, str]()
    fields = form.similar_fields() if form.is_similar else form.search_fields()
    if form.is_asked:
        try:
            answer = await _answer(request, form, fields)
        except InstepError as error:
            problem = problem_of(error)
            if problem.code == "forbidden":
                raise
            faults = places_of(problem)
    elif "q" in request.query:
        faults = {"q": "the question is empty; write at least one word"}
    return show(
        request,
        "search.html",
        "search",
        form=form,
        answer=answer,
        faults=faults,
        hits=[shown(hit) for hit in answer.hits] if answer else [],
        sliders=_sliders(answer, form),
        commands=_commands(request, fields) if answer else [],
        modes=MODES,
        limits=limits(),
        sources=await _sources(request),
    )


async def _answer(request: web.Request, form: SearchForm, fields: dict[str, Any]) -> SearchAnswer:
    operation = "similar" if form.is_similar else "search"
    more = {"explain": True} if form.is_similar else {"explain": True, "highlight": True}
    found: SearchAnswer = await ask(request, operation, **fields, **more)
    return found


def _sliders(answer: SearchAnswer | None, form: SearchForm) -> list[Slider]:
    """Weights as they were asked for, or as the settings give them; none if nobody has asked."""
    weights = form.weights_entered() if answer is None else answer.weights or {}
    tops = tops_of(weights)
    return [Slider(name, LABELS[name], value, tops[name]) for name, value in weights.items()]


def _commands(request: web.Request, fields: dict[str, Any]) -> list[tuple[str, str]]:
    base, needs_key = (
        f"{request.scheme}://{request.host}",
        request[FACES].access.sessions is not None,
    )
    return [
        ("curl", as_curl(fields, base, needs_key=needs_key)),
        ("Command line", as_command(fields)),
        ("Python", as_python(fields)),
    ]


async def _sources(request: web.Request) -> list[str] | None:
    """The names to choose from; None: the sender may not know them."""
    if not may(request[ACCESS], OPERATIONS["sources"]):
        return None
    try:
        known = await ask(request, "sources")
    except Problem:
        return None
    return [one.name for one in known.sources]
