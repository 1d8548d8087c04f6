"""Requests that a page of another site may make a browser send here. Pure.

DNS rebinding shows in the Host header, a cross-site request in Origin and Sec-Fetch-Site. A browser
keeps the key once it was given, so writes with a key are checked, too.
"""

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


def check_host(headers: Mapping[str, str]) -> None:
    """Raise Problem `bad_host` for a Host that is not this machine's own."""
    host = _host(headers.get("Host", ""))
    if not is_loopback(host):
        raise Problem("bad_host", f"this instance answers to 127.0.0.1 only, not to {host[:100]!r}")


def check_site(method: str, headers: Mapping[str, str]) -> None:
    """Raise Problem `forbidden` for a write from the page of another site.

    Args:
        headers: looked up as `Host`, `Origin`, `Sec-Fetch-Site`.
    """
    if method in _SAFE:
        return
    origin = headers.get("Origin")
    if origin is not None and not _is_own(origin, headers.get("Host", "")):
        raise Problem("forbidden", "writes from the page of another site are refused")
    if headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise Problem("forbidden", "writes from the page of another site are refused")


def _host(value: str) -> str:
    if value.startswith("["):
        return value.partition("]")[0] + "]"
    return value.partition(":")[0]


def _is_own(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False
