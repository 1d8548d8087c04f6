"""A second judge of the best hits: a server with a cross-encoder, which reads question and text.

It has a budget of time. An answer does not wait longer, says so, and stays as it was.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import exp, isfinite
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import aiohttp
import structlog

from shared.settings import RerankSettings

MOST_CHARS: Final = 8_000
"""Of a text that is sent; such models read about 500 tokens."""
MOST_ANSWER_BYTES: Final = 1024**2

Reranker = Callable[[str, Sequence[str]], Awaitable[Sequence[float]]]
"""From a question and texts to how well each answers it, in [0, 1]. Raises RerankerUnavailable."""

log = structlog.get_logger(__name__)


class RerankerUnavailable(Exception):
    """It did not answer in its time, or not as it should. The message names no text."""


class HttpReranker:
    """Implements `Reranker` by a server that speaks the interface of Cohere, or that of TEI.

    Jina, Voyage, vLLM, Infinity, llama.cpp and LiteLLM speak the first one.
    """

    def __init__(self, settings: RerankSettings, key: str | None = None) -> None:
        assert settings.url, "only a server that is named is asked"
        self._settings, self._url = settings, settings.url
        self._place = urlsplit(settings.url).netloc.rpartition("@")[2]
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        body = request_body(question, texts, self._settings.format, self._settings.model)
        try:
            async with asyncio.timeout(self._settings.budget):
                answer = await self._ask(body)
        except TimeoutError:
            raise RerankerUnavailable(f"no answer within {self._settings.budget:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:  # or a key that is no header
            raise RerankerUnavailable(f"{type(error).__name__} of {self._place}") from None
        return scores_of(answer, len(texts))

    async def _ask(self, body: Mapping[str, Any]) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers)
        async with self._session.post(self._url, json=body, allow_redirects=False) as response:
            if response.status != 200:
                raise RerankerUnavailable(f"{self._place} answers with status {response.status}")
            answer = await response.content.read(MOST_ANSWER_BYTES + 1)
            while len(answer) <= MOST_ANSWER_BYTES and (
                more := await response.content.read(MOST_ANSWER_BYTES)
            ):
                answer += more
            return answer

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def request_body(
    question: str, texts: Sequence[str], format_: Literal["cohere", "tei"], model: str
) -> dict[str, Any]:
    """The question and its texts as a server reads them. Pure."""
    cut = [text[:MOST_CHARS] for text in texts]
    if format_ == "tei":
        return {"query": question, "texts": cut, "truncate": True}
    named = {"model": model} if model else {}
    return {**named, "query": question, "documents": cut, "top_n": len(cut)}


def scores_of(answer: bytes, count: int) -> list[float]:
    """The scores of an answer in the order of the texts; those of raw logits through 1/(1+e^-x).

    Raises:
        RerankerUnavailable: it has not one finite score for each text.
    """
    try:
        found = json.loads(answer[:MOST_ANSWER_BYTES])
        rows = found["results"] if isinstance(found, dict) else found
        told = {int(row["index"]): _score(row) for row in rows}
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        raise RerankerUnavailable("the answer is not that of a reranker") from None
    if told.keys() != set(range(count)) or not all(map(isfinite, told.values())):
        raise RerankerUnavailable("the answer has not one score for each text")
    scores = [told[n] for n in range(count)]
    if all(0 <= one <= 1 for one in scores):
        return scores
    return [1 / (1 + exp(-max(-50.0, min(50.0, one)))) for one in scores]


def _score(row: Mapping[str, Any]) -> float:
    return float(row["relevance_score"] if "relevance_score" in row else row["score"])


async def judged(
    reranker: Reranker, question: str, rows: Mapping[str, str]
) -> dict[str, float] | None:
    """How well each text answers the question, by row id; None: no answer in time.

    Args:
        rows: texts by row id.
    """
    if not rows:
        return {}
    try:
        scores = await reranker(question, list(rows.values()))
    except RerankerUnavailable as error:
        log.warning("not_reranked", reason=str(error))
        return None
    return dict(zip(rows, scores, strict=True))
