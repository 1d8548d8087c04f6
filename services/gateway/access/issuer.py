"""The keys of an issuer of tokens, read over the network."""

import json
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from services.gateway.access.jwks import Key, read_keys
from shared.domain.addresses.web_address import check_secure
from shared.domain.errors import TransientError

ISSUER_S: Final = 5.0
"""For one answer of an issuer, with its whole body."""
MAX_ANSWER_BYTES: Final = 256 * 1024
DISCOVERY: Final = "/.well-known/openid-configuration"


class IssuerUnavailable(TransientError):
    """The keys of the issuer cannot be had now; the text says why, for people."""


async def fetch_keys(issuer: str) -> tuple[Key, ...]:
    """The keys that the issuer names now.

    Nothing leads elsewhere but the discovery document itself: no redirect is followed, no proxy of
    the environment is used.

    Raises:
        IssuerUnavailable
    """
    timeout = aiohttp.ClientTimeout(total=ISSUER_S)
    async with aiohttp.ClientSession(
        timeout=timeout,
        auto_decompress=False,  # what was not asked for is not unpacked
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
    ) as session:
        found = await _json(session, issuer.rstrip("/") + DISCOVERY)
        if found.get("issuer") != issuer:
            raise IssuerUnavailable("its discovery document names another issuer")
        address = found.get("jwks_uri")
        try:
            check_secure(address if isinstance(address, str) else "")
        except ValueError as error:
            raise IssuerUnavailable(f"its discovery document: jwks_uri: {error}") from None
        try:
            return read_keys(await _json(session, str(address)))
        except ValueError as error:
            raise IssuerUnavailable(f"its keys cannot be read: {error}") from None


async def _json(session: aiohttp.ClientSession, url: str) -> Mapping[str, Any]:
    try:
        async with session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise IssuerUnavailable(f"it answers {response.status}")
            body = await _body(response)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise IssuerUnavailable(f"it does not answer ({type(error).__name__})") from None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise IssuerUnavailable("its answer is not JSON") from None
    if not isinstance(found, dict):
        raise IssuerUnavailable("its answer is not a JSON object")
    return found


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise IssuerUnavailable(f"its answer is larger than {MAX_ANSWER_BYTES:,} bytes")
    return bytes(body)
