"""Sends an event to the address of a webhook."""

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

import aiohttp

TRY_S: Final = 10.0
MOST_ANSWER_BYTES: Final = 64 * 1024


class WebhookSender(Protocol):
    """Sends a body once."""

    async def __call__(self, body: bytes, headers: Mapping[str, str]) -> str:
        """Why the receiver has not taken it; empty: it has. Does not raise."""
        ...

    async def close(self) -> None: ...


class HttpSender:
    """Implements `WebhookSender` by a POST that follows no redirect and keeps no cookie.

    A status of 200 to 299 says that the receiver has taken the event. A short answer is read and
    dropped, and for a long one the connection is closed.
    """

    def __init__(self, url: str, *, at_once: int) -> None:
        self._url, self._at_once = url, at_once
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, body: bytes, headers: Mapping[str, str]) -> str:
        try:
            async with asyncio.timeout(TRY_S):
                return await self._post(body, headers)
        except TimeoutError:
            return f"no answer within {TRY_S:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return type(error).__name__

    async def _post(self, body: bytes, headers: Mapping[str, str]) -> str:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._at_once),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": "instep"},
            )
        async with self._session.post(
            self._url, data=body, headers=headers, allow_redirects=False
        ) as response:
            length = response.content_length
            if length is None or length > MOST_ANSWER_BYTES:
                response.close()
            else:
                await response.read()
            return "" if 200 <= response.status < 300 else f"status {response.status}"

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
