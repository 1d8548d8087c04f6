"""Events of object storage that arrive over NATS, as keys of objects.

They are hints: servers publish each at most once, in any order, and spell keys in two ways. The
listing is the truth.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_plus

from shared.domain.errors import GARBAGE


def keys_of(message: bytes, bucket: str, prefix: str) -> frozenset[str]:
    """Keys, below the prefix, that a message of S3's shape names; none of any other message.

    AWS encodes keys as in a form, others do not: where both readings differ, both are returned.
    """
    try:
        event = json.loads(message)
        named = [
            str(s3["object"]["key"]) for s3 in _entries(event) if s3["bucket"]["name"] == bucket
        ]
    except GARBAGE:
        return frozenset()
    below = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    spelt = {key for one in named for key in (one, unquote_plus(one))}
    return frozenset(key[len(below) :] for key in spelt if key.startswith(below))


def _entries(event: Any) -> Iterator[Mapping[str, Any]]:
    """The parts that name an object: `s3` of each record, `detail` of EventBridge."""
    if "detail" in event:
        yield event["detail"]
    for record in event.get("Records") or ():
        yield record["s3"]
