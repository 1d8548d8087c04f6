"""RESULTS: the outcomes of documents and batches, read one by one from any place of the stream."""

from typing import Final

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from shared.bus.jetstream.reading import translated
from shared.domain.errors import BusUnavailable
from shared.domain.events import DocumentIndexed
from shared.ports import StoredResult

STREAM: Final = DocumentIndexed.stream
_NO_MESSAGE: Final = 10037


class JetResults:
    """Implements `shared.ports.Results` by single requests, which every key of a gateway allows.

    No consumer is made, so nothing is left behind by a listener that goes away, and a server that
    starts again interrupts nobody.

    Args:
        generation: `*` for the outcomes of all generations.
    """

    def __init__(self, js: JetStreamContext, generation: str) -> None:
        self._js = js
        self._subjects = f"*.*.{generation}"

    async def next(self, after: int, source: str = "") -> StoredResult | None:
        subjects = f"{self._subjects}.{source or '*'}"
        with translated(f"reading {STREAM}"):
            try:
                found = await self._js.get_msg(STREAM, seq=after + 1, subject=subjects, next=True)
            except NotFoundError as error:
                if error.err_code == _NO_MESSAGE:
                    return None
                raise BusUnavailable(f"stream {STREAM} is missing: run instep provision") from None
        return StoredResult(found.seq or 0, found.subject or "", found.data or b"")

    async def bounds(self) -> tuple[int, int]:
        with translated(f"reading {STREAM}"):
            state = (await self._js.stream_info(STREAM)).state
        return state.first_seq, state.last_seq
