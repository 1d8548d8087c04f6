"""Events of object storage that arrive over NATS, as keys of objects.

They are hints: servers publish each at most once, in any order, and spell keys in two ways. The
listing is the truth.
"""

import json
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any
from urllib.parse import unquote_plus

from services.producer.sources.port import LISTING_SHARE, Root
from shared.domain.addresses import bucket_address
from shared.domain.errors import GARBAGE
from shared.settings import WatchedSettings

Subscribe = Callable[[Callable[[bytes], None]], Awaitable[Callable[[], Awaitable[None]]]]
"""Call it with what hears each message; it returns what ends the subscription."""


class BucketHints:
    """Events of one bucket. Implements `services.producer.sources.port.Hints`.

    Whether a server publishes events is not known before the first one comes, so until then the
    bucket is listed as often as without.

    Args:
        subscribe: None to look at intervals only.
    """

    def __init__(self, url: str, settings: WatchedSettings, subscribe: Subscribe | None) -> None:
        self.anew = False
        _, self._bucket, self._prefix = bucket_address.parse(url)
        self._settings, self._subscribe = settings, subscribe
        self._end: Callable[[], Awaitable[None]] | None = None
        self._come = False

    async def start(self, heard: Callable[[Collection[str]], None]) -> None:
        """Names are keys below the prefix."""

        def hear(message: bytes) -> None:
            if keys := keys_of(message, self._bucket, self._prefix):
                self._come = True
                heard(keys)

        if self._subscribe is not None:
            self._end = await self._subscribe(hear)

    async def stop(self) -> None:
        if self._end is not None:
            await self._end()

    async def watch_the_same(self, root: Root) -> None:
        """A bucket keeps its address."""

    def interval(self, took_s: float, *, waits: bool) -> float:
        hinted = self._settings.watch == "events" or (self._come and not waits)
        every = self._settings.rescan if hinted else self._settings.poll
        return max(every, took_s / LISTING_SHARE)


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
    below = f"{prefix}/" if prefix else ""
    spelt = {key for one in named for key in (one, unquote_plus(one))}
    return frozenset(key[len(below) :] for key in spelt if key.startswith(below))


def _entries(event: Any) -> Iterator[Mapping[str, Any]]:
    """The parts that name an object: `s3` of each record, `detail` of EventBridge."""
    if "detail" in event:
        yield event["detail"]
    for record in event.get("Records") or ():
        yield record["s3"]
