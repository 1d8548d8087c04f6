"""Access to a gateway: free on the loopback interface, elsewhere with the key. Pure.

A page of another site may make a browser send requests here: DNS rebinding shows in the Host
header, a cross-site request in Origin and Sec-Fetch-Site. A browser keeps the key once it was
given, so writes with a key are checked, too; only the Host is then free.
"""

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from services.gateway.problems import Problem

_SAFE: Final = frozenset({"GET", "HEAD"})


def is_loopback(host: str) -> bool:
    """Whether a host name or address (no port) is this machine's own."""
    host = host.strip("[]").lower().rstrip(".")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_request(method: str, headers: Mapping[str, str], key: str | None = None) -> None:
    """Let a request pass, or raise Problem `bad_host`, `no_key` or `forbidden`.

    Args:
        headers: looked up as `Host`, `Origin`, `Sec-Fetch-Site`, `Authorization`.
        key: the key to compare with, as a bearer or as the password of any user.
    """
    host = _host(headers.get("Host", ""))
    if key is not None and not shows(headers.get("Authorization", ""), key):
        raise Problem("no_key", "this instance answers only requests with its key")
    if key is None and not is_loopback(host):
        raise Problem("bad_host", f"this instance answers to 127.0.0.1 only, not to {host[:100]!r}")
    if method in _SAFE:
        return
    origin = headers.get("Origin")
    if origin is not None and not _is_own(origin, headers.get("Host", "")):
        raise Problem("forbidden", "writes from the page of another site are refused")
    if headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise Problem("forbidden", "writes from the page of another site are refused")


def shows(authorization: str, key: str) -> bool:
    """Whether the header has the key, `Bearer KEY` or `Basic base64(ANY:KEY)`."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return False
    elif scheme.lower() != "bearer":
        return False
    shown = given.strip().encode("utf-8", "surrogatepass")  # a header may hold any bytes
    return hmac.compare_digest(shown, key.encode())


def _host(value: str) -> str:
    if value.startswith("["):
        return value.partition("]")[0] + "]"
    return value.partition(":")[0]


def _is_own(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False
