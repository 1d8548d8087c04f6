"""Encrypted connections to a Weaviate server: what is trusted, and whether it is that server.

The client reports a certificate that it does not trust as a server that does not answer, and tries
again for a minute. So both ports are asked first, by a handshake of our own.
"""

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.domain.errors import ConfigurationError, StoreUnavailable

if TYPE_CHECKING:
    from weaviate import WeaviateAsyncClient


def context_of(authority: Path | None) -> ssl.SSLContext:
    """What a server has to show.

    Args:
        authority: file with the certificates that sign the server's; None: those that the HTTP
            client comes with.

    Raises:
        ConfigurationError: the file holds none.
    """
    import httpx

    if authority is None:
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=authority)
    except ssl.SSLError as error:
        why = f"no certificate in it ({error.reason or 'not PEM'})"
    except OSError as error:
        why = error.strerror or type(error).__name__
    raise ConfigurationError(f"store.weaviate.tls_ca: {authority}: {why}")


def channel_credentials(authority: Path | None) -> Any:
    """The same for gRPC."""
    import grpc  # type: ignore[import-untyped]

    return grpc.ssl_channel_credentials(authority.read_bytes() if authority else None)


def have_trust(client: "WeaviateAsyncClient", context: ssl.SSLContext) -> None:
    """Let the client's HTTP connections use the context, which it has no setting for.

    Only before it connects.
    """
    import httpx

    connection: Any = client._connection

    def make(_colour: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(headers=connection._headers, verify=context, trust_env=False)

    connection._make_client = make


async def shake_hands(address: tuple[str, int], context: ssl.SSLContext, within_s: float) -> None:
    """Connect once, and let go.

    Raises:
        ConfigurationError: another certificate than one that is trusted, or no TLS.
        StoreUnavailable: nobody answers.
    """
    host, port = address
    try:
        async with asyncio.timeout(within_s):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    except (TimeoutError, OSError) as error:
        if why := refusal(error):
            raise ConfigurationError(f"Weaviate at {host}:{port} {why}") from None
        raise StoreUnavailable(f"Weaviate at {host}:{port}: {type(error).__name__}") from error


def refusal(error: Exception) -> str:
    """Why trying again cannot help, as what follows the server; empty where it may. Pure."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"has a certificate that is not trusted here ({error.verify_message}): "
            "look at store.weaviate.tls_ca"
        )
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "does not speak TLS: look at store.weaviate.url"
    return ""
