"""The addresses of web pages in one spelling. Pure.

Two spellings that the standards call equivalent (RFC 3986, section 6.2.2 and 6.2.3; UTS 46) become
one text of ASCII, so the path of a page as a document is its address.
"""

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import idna

SCHEMES: Final = ("http", "https")
MAX_CHARS: Final = 2_048
_PORTS: Final = {"http": 80, "https": 443}
_FORBIDDEN: Final = frozenset(map(chr, range(0x20))) | {"\x7f", "\\"}
_LABEL: Final = re.compile(r"[a-z0-9_-]{1,63}")
_NUMBER: Final = re.compile(r"[0-9]{1,255}|0[xX][0-9a-fA-F]{0,255}")
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_IN_PATH: Final = "/:@!$&'()*+,;=~%"
_IN_QUERY: Final = _IN_PATH + "?"


def is_web(url: str) -> bool:
    """Whether it begins as the address of a page does."""
    return url[:8].lower().startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def normal(url: str, base: str = "") -> str:
    """The one spelling of an address, without its fragment; all ASCII.

    Args:
        base: the address of the page that a relative one is in.

    Raises:
        ValueError: it is no address of a page. The text is for people, and never repeats the
            address, which may hold a password.
    """
    text = url.strip()
    if len(text) > MAX_CHARS or set(text) & _FORBIDDEN:
        raise ValueError(f"an address has at most {MAX_CHARS:,} characters, none of them a control")
    try:
        place = urlsplit(urljoin(base, text) if base else text)
        port = place.port
    except ValueError:
        raise ValueError("not the address of a page") from None
    scheme = place.scheme.lower()
    if scheme not in SCHEMES or not place.hostname:
        raise ValueError("an address of a page begins with http:// or https:// and a host")
    if "@" in place.netloc:
        raise ValueError("an address of a page has no user and no password")
    host = normal_host(place.hostname)
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != _PORTS[scheme]:
        shown += f":{port}"
    query = f"?{_spelt(place.query, _IN_QUERY)}" if place.query else ""
    return f"{scheme}://{shown}{_path(place)}{query}"


def normal_host(host: str) -> str:
    """A name in the letters of DNS, or an address; without brackets and the last dot.

    Raises:
        ValueError: it is neither, or an address in a form that programs read differently.
    """
    bare = host.strip("[]").lower()
    if ":" in bare:
        if "%" in bare:
            raise ValueError("the address of a host has no zone")
        return ipaddress.IPv6Address(bare).compressed
    if not bare.isascii():
        try:
            bare = idna.encode(bare, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            raise ValueError("the name of the host is not valid") from None
    bare = bare.removesuffix(".")
    labels = bare.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(bare))
        except ValueError:
            raise ValueError("the address of a host has four decimal numbers") from None
    if len(bare) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("the name of the host is not valid")
    return bare


def host_of(url: str) -> str:
    """The host of an address in its one spelling, without port and brackets."""
    return urlsplit(url).hostname or ""


def origin_of(url: str) -> str:
    """Scheme, host and port of an address in its one spelling."""
    place = urlsplit(url)
    return f"{place.scheme}://{place.netloc}"


def check_secure(url: str) -> None:
    """Let an address pass that is encrypted, or of this machine.

    Raises:
        ValueError: it is another, or none.
    """
    if url.startswith("https://"):
        normal(url)
        return
    host = host_of(normal(url))
    if not (host == "localhost" or _is_own(host)):
        raise ValueError("must begin with https:// unless it is of this machine")


def _is_own(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _path(place: SplitResult) -> str:
    """Without dot segments (RFC 3986, section 5.2.4), also those that are escaped."""
    kept = list[str]()
    parts = _spelt(place.path, _IN_PATH).split("/")[1:] or [""]
    for n, part in enumerate(parts):
        if part == ".." and kept:
            kept.pop()
        if part not in (".", ".."):
            kept.append(part)
        elif n == len(parts) - 1:
            kept.append("")
    return "/" + "/".join(kept)


def _spelt(text: str, safe: str) -> str:
    """With escapes in capital letters, and only where they are needed."""
    ready = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text)
    return _ESCAPE.sub(_escape, quote(ready, safe=safe, errors="strict"))


def _escape(match: re.Match[str]) -> str:
    letter = chr(int(match[0][1:], 16))
    return letter if letter in _UNRESERVED else match[0].upper()
