"""The form of a question: from the query of an address to the fields of a search. Pure."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from services.gateway.models import SearchRequest, WeightsRequest
from services.gateway.problems import Problem

MODES: Final = (
    ("", "as in the settings"),
    ("hybrid", "meaning and words"),
    ("vector", "meaning only"),
    ("keyword", "words only"),
)
WEIGHTS: Final = tuple(WeightsRequest.model_fields)
WEIGHT_TOP: Final = 1.0
"""Of a slider, unless its value is above."""
WEIGHT_MOST: Final = 1e6
"""Of a request."""
_PLAIN: Final = ("mode", "limit", "filter")
FIELDS: Final = ("q", "mode", "limit", "filter", "source")
"""Those that have a place for what is wrong with them; `weights` is the one of all sliders."""


@dataclass(frozen=True, slots=True)
class SearchForm:
    """What was entered, as it was entered: a form that is refused shows it again."""

    q: str = ""
    mode: str = ""
    limit: str = ""
    filter: str = ""
    source: str = ""
    similar: str = ""
    """The document to find similar ones of, as SOURCE/PATH; a question counts before it."""
    weights: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_asked(self) -> bool:
        """Whether there is something to answer."""
        return bool(self.q.strip() or self.similar)

    @property
    def is_similar(self) -> bool:
        return bool(self.similar) and not self.q.strip()

    def weights_entered(self) -> dict[str, float]:
        """Those that are weights."""
        found: dict[str, float] = {}
        for name, value in self.weights.items():
            with contextlib.suppress(ValueError):
                number = float(value)
                found |= {name: number} if 0 <= number <= WEIGHT_MOST else {}
        return found

    def search_fields(self) -> dict[str, Any]:
        """The fields of `SearchRequest` that were given."""
        fields: dict[str, Any] = {"q": self.q}
        fields |= {name: value for name in _PLAIN if (value := getattr(self, name).strip())}
        if self.source:
            fields["source"] = (self.source,)
        if self.weights:
            fields["weights"] = dict(self.weights)
        return fields

    def similar_fields(self) -> dict[str, Any]:
        """The fields of `SimilarRequest` that were given."""
        fields: dict[str, Any] = {"name": self.similar}
        fields |= {
            name: value for name in ("limit", "filter") if (value := getattr(self, name).strip())
        }
        if self.source:
            fields["source"] = (self.source,)
        return fields


def form_of(query: Mapping[str, str]) -> SearchForm:
    """What the query of an address has entered. Fields that the form does not have are ignored."""
    weights = {name: value for name in WEIGHTS if (value := query.get(name, "").strip())}
    entered = {name: query.get(name, "") for name in (*FIELDS, "similar")}
    return SearchForm(**entered, weights=weights)


def places_of(problem: Problem) -> dict[str, str]:
    """What is wrong, by the field of the form where it is told; `page`: it is about none of them.

    A problem that names no field is about the question, if a question can cause it.
    """
    told: dict[str, str] = {}
    for fault in problem.faults:
        name = fault.at.split("/")[1] if "/" in fault.at else ""
        told.setdefault(name if name in (*FIELDS, "weights") else "page", fault.detail)
    if told:
        return told
    return {_place(problem): _sentence(problem)}


def _place(problem: Problem) -> str:
    if problem.code in ("invalid_filter", "field_not_ready"):
        return "filter"
    if problem.code == "question_refused":
        return "q"
    if problem.code == "invalid_request":
        return "weights" if "weights" in problem.detail else "q"
    return "page"


def _sentence(problem: Problem) -> str:
    fix = problem.fix or problem.kind.fix
    return f"{problem.detail}. What to do: {fix}" if fix else problem.detail


def tops_of(weights: Mapping[str, float]) -> dict[str, float]:
    """The largest value of each slider."""
    return {name: max(WEIGHT_TOP, value) for name, value in weights.items()}


def limits() -> tuple[int, int]:
    """The least and the most documents that an answer may have."""
    least, most = 1, 1
    for one in SearchRequest.model_fields["limit"].metadata:
        least, most = getattr(one, "ge", None) or least, getattr(one, "le", None) or most
    return least, most
