"""Reads what submissions refer to on the web, by the client of web sources.

The publisher has named the address, so no robots.txt is asked. A redirect may only lead to what the
source allows, too.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from services.producer.sources.port import Unreadable
from services.producer.sources.web.addresses import Reachable
from services.producer.sources.web.client import NotAllowed, WebAnswer, WebClient, user_agent
from services.producer.submissions.intake import Fetched, NotThereYet
from services.producer.submissions.submission import SourceLimits, may_refer
from shared.domain.addresses.web_address import host_of, is_web, normal
from shared.domain.errors import ConfigurationError, DocumentRefused
from shared.domain.topology import ACCEPT


class WebReferences:
    """Implements `services.producer.submissions.intake.Fetch`: one request at a time to a host.

    Args:
        limits: by source.

    Raises:
        ConfigurationError: a host that is named in allow_private is none.
    """

    def __init__(self, limits: Mapping[str, SourceLimits]) -> None:
        self._limits = limits
        self._clients = dict[str, WebClient]()
        for name, one in limits.items():
            hosts = {host_of(normal(url)) for url in one.allow_references if is_web(url)}
            try:
                reachable = Reachable(one.allow_private)
            except ValueError as error:
                raise ConfigurationError(f"sources.{name}.allow_private: {error}") from None
            self._clients[name] = WebClient(hosts, reachable, user_agent=user_agent(), delay_s=0.0)
        # threads of its own: slow servers must not take those that read files
        self._threads = ThreadPoolExecutor(ACCEPT.concurrency, "references")

    async def __call__(self, source: str, url: str) -> Fetched:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._get, source, url)

    async def run(self) -> None:
        """Wait until cancelled, then end all requests."""
        try:
            await asyncio.Event().wait()
        finally:
            for client in self._clients.values():
                client.close()
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _get(self, source: str, url: str) -> Fetched:
        limits = self._limits[source]
        try:
            answer = self._clients[source].get(
                url,
                limit=limits.max_bytes,
                by_robots=False,
                allows=partial(may_refer, limits=limits),
            )
        except NotAllowed as error:
            raise DocumentRefused("reference_not_allowed", f"ref.url: {error}") from None
        except Unreadable as error:
            raise NotThereYet("source_gone", f"ref.url: {error}") from None
        return Fetched(_body(answer, limits), answer.headers.get("Content-Type") or None)


def _body(answer: WebAnswer, limits: SourceLimits) -> bytes:
    if answer.status >= 500:
        raise NotThereYet("source_gone", f"ref.url: the server answers {answer.status}")
    if answer.status != 200:
        denied = ": access is denied" if answer.status in (401, 403) else ""
        raise DocumentRefused("source_gone", f"ref.url: the server answers {answer.status}{denied}")
    if answer.body is None:
        rule = f"more than {limits.max_bytes:,} bytes, the limit of its source"
        raise DocumentRefused("too_large", f"ref.url: {rule}")
    return answer.body
