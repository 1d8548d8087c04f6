"""The address of a bucket of object storage, as people write it. Pure."""

from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

SCHEMES: Final = ("s3", "gs", "az")
WANTED: Final = "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"


class BucketAddress(NamedTuple):
    scheme: str
    bucket: str
    prefix: str
    """The keys of its documents begin with it and a slash; empty: all keys."""


def parse(url: str) -> BucketAddress:
    """The parts of an address; `%20` in it is a space.

    Raises:
        ValueError: it is none. The text is for people, and never repeats the address, which may
            hold a password.
    """
    place = urlsplit(url)
    if place.scheme not in SCHEMES or not place.netloc:
        raise ValueError(f"not the address of a bucket: give {WANTED}")
    if set(place.netloc) & set("@:") or place.query or place.fragment:
        raise ValueError(
            "an address of a bucket has no credentials, no port, no '?' and no '#':"
            " credentials come from the environment, as AWS_ACCESS_KEY_ID"
        )
    prefix = unquote(place.path).strip("/")
    if prefix and {"", ".", ".."} & set(prefix.split("/")):
        raise ValueError("the prefix of a bucket has no empty part, no '.' and no '..'")
    return BucketAddress(place.scheme, place.netloc, prefix)


def is_server(url: str) -> bool:
    """Whether it is the address of a server, as `http://localhost:7070`."""
    try:
        place = urlsplit(url)
        place.port  # noqa: B018 - raises ValueError
    except ValueError:
        return False
    is_plain = url.isascii() and url.isprintable() and " " not in url
    return bool(is_plain and place.scheme in ("http", "https") and place.hostname)
