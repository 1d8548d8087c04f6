"""DOCS: the newest change of every document, appended by compare-and-set."""

import contextlib
import time
from collections.abc import AsyncIterator, Set
from typing import Final

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import APIError, NotFoundError

from shared.bus.jetstream.publish import Outgoing, store
from shared.bus.jetstream.reading import scan, stream_sequence
from shared.domain.codecs.change_codec import from_bytes
from shared.domain.errors import BusUnavailable, ChangeLogConflict
from shared.domain.events import DocumentChanged, Stored
from shared.domain.ids import is_doc_key, is_source
from shared.domain.priority import BURST_DOCUMENTS, Allowance
from shared.domain.priority import HEADER as LANE
from shared.ports import Newest

WRONG_LAST_SEQUENCE: Final = (10071, 10164)
NO_MESSAGE: Final = 10037
MESSAGE_ID: Final = "Nats-Msg-Id"
EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"


BODY: Final = "Instep-Body"
NO_BODY: Final = "-"
"""Value of that header where the content does not lie among the bodies."""


def body_of(change: DocumentChanged) -> str:
    """The header's value for a change."""
    return change.content.hash if isinstance(change.content, Stored) else NO_BODY


class JetChangeLog:
    """Implements `shared.ports.ChangeLog`."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js
        self._allowance = Allowance(BURST_DOCUMENTS)

    async def sequences(self, source: str | None = None) -> AsyncIterator[tuple[str, str, int]]:
        """A document that changes meanwhile may come twice, the newer sequence last.

        Subjects that no document can have are passed over.
        """
        subject = f"documents.changed.{source or '*'}.*"
        stream = DocumentChanged.stream
        async with contextlib.aclosing(scan(self._js, stream, subject, values=False)) as messages:
            async for message in messages:
                _, _, of, doc_key = message.subject.split(".")
                if is_source(of) and is_doc_key(doc_key):
                    yield of, doc_key, stream_sequence(message.reply)

    async def newest(self, source: str, doc_key: str) -> Newest | None:
        found = await self._last(f"documents.changed.{source}.{doc_key}")
        if found is None:
            return None
        data, sequence = found.data or b"", found.seq or 0
        return Newest(sequence, from_bytes(data, source=source, key=doc_key, sequence=sequence))

    async def bodies(self) -> Set[str]:
        """Reads headers only, and the content of a change that an older version wrote."""
        found, unsaid = set[str](), list[tuple[str, str]]()
        stream = DocumentChanged.stream
        subject = "documents.changed.*.*"
        async with contextlib.aclosing(scan(self._js, stream, subject, values=False)) as messages:
            async for message in messages:
                said = (message.headers or {}).get(BODY)
                if said is None:
                    _, _, source, doc_key = message.subject.split(".")
                    unsaid.append((source, doc_key))
                elif said != NO_BODY:
                    found.add(said)
        for source, doc_key in unsaid:
            newest = await self.newest(source, doc_key)
            if newest and newest.readable:
                found.add(body_of(newest.readable))
        return found - {NO_BODY}

    async def append(self, change: DocumentChanged, *, expect: int, message_id: str) -> int:
        lane = self._allowance.lane_of_change(
            change.document.source,
            change.batch.count,
            repair=change.repair is not None,
            now_s=time.monotonic(),
        )
        message = Outgoing(
            stream=change.stream,
            subject=change.subject,
            data=change.model_dump_json().encode(),
            message_id=message_id,
            headers={EXPECTED: str(expect), BODY: body_of(change), LANE: lane},
        )
        try:
            return (await store(self._js, message)).seq
        except APIError as error:
            if error.err_code not in WRONG_LAST_SEQUENCE:
                raise BusUnavailable(f"DOCS: {error.err_code} {error.description}") from None
        # the server compares sequences before it looks for duplicates: the message in the way may
        # be this very one, whose acknowledgement was lost
        found = await self._last(change.subject)
        if found is not None and (found.headers or {}).get(MESSAGE_ID) == message_id:
            return found.seq or 0
        raise ChangeLogConflict(f"{change.subject} is not at {expect} any more")

    async def _last(self, subject: str) -> RawStreamMsg | None:
        """From the stream's leader: a direct get may be answered by a replica that lags."""
        try:
            return await self._js.get_last_msg(DocumentChanged.stream, subject)
        except NotFoundError as error:
            if error.err_code == NO_MESSAGE:
                return None
            raise BusUnavailable("stream DOCS is missing: run instep provision") from None
        except (NatsError, APIError, TimeoutError) as error:
            raise BusUnavailable(f"DOCS: not readable ({type(error).__name__})") from None
