"""Device-sized batches out of many small `encode` calls.

One thread tokenises, a process runs the model; the event loop only chooses the next texts. No text
waits for company: a lone one goes at once, and arrivals during a device call join the next choice.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, NamedTuple, Self

import numpy as np

from shared.domain.errors import EncoderBusy, InstepError, ModelFailed, TransientError
from shared.encoders.batching import SMALL, next_batch, padded, whose_turn, with_guests
from shared.encoders.local.backend import Tokens
from shared.encoders.local.device import Absent, Counters, Device, Lost
from shared.ports import Vector, Vectors

_SLICE: Final = 64
"""Texts of one call that are tokenised and admitted at a time."""
_LEAST_SHARE: Final = 0.25
"""Smallest share of a full call's time for a text alone."""


@dataclass(eq=False, slots=True)
class _Job:
    """One call of `encode`."""

    texts: Sequence[str]
    vectors: Vectors
    future: asyncio.Future[Vectors]
    missing: int
    """Texts without a vector."""
    ready: dict[int, Tokens] = field(default_factory=dict)
    """Texts that wait for the device, by their place in the call."""
    suspects: set[int] = field(default_factory=set)
    """Places of texts of a lost call: from then on each goes alone."""

    @property
    def is_small(self) -> bool:
        return len(self.vectors) <= SMALL


class _Row(NamedTuple):
    job: _Job
    place: int
    tokens: Tokens

    @property
    def text(self) -> str:
        return self.job.texts[self.place]


class CoalescingEncoder:
    """Implements `shared.ports.Encoder` over a device.

    A failing text takes no other caller along: its batch is halved until it is alone. When a call
    is lost, because the model died, hung or took too much memory, each of its texts goes alone,
    behind all texts of other calls; a text that is lost alone as well has failed. When the device
    also fails on a harmless text, the device is at fault: every waiting call fails with
    EncoderBusy. A text of several callers is encoded once, also when a caller comes while it is
    encoded. A cancelled caller is forgotten; its device call goes on.

    Args:
        max_tokens: most padded tokens of a device call; it bounds how long a late text waits.
        max_items: most texts of a device call.
        look_tokens: how many waiting tokens a batch is chosen from; more means less padding.
        max_waiting: queued texts beyond which callers have to wait to queue more.
        timeout_s: most seconds of one device call; 0: any. A text alone has a share by its
            tokens.
    """

    def __init__(
        self,
        device: Device,
        *,
        max_tokens: int = 2048,
        max_items: int = 64,
        look_tokens: int = 16_384,
        max_waiting: int = 4096,
        timeout_s: float = 0.0,
    ) -> None:
        self.fingerprint, self.dimensions = device.fingerprint, device.dimensions
        self.counters = Counters()
        self._device, self._timeout_s = device, timeout_s
        self._limits = {"max_tokens": max_tokens, "max_items": max_items}
        self._look_tokens, self._max_waiting = look_tokens, max_waiting
        self._jobs: list[_Job] = []
        self._wanted: dict[str, list[tuple[_Job, int]]] = {}
        """Places of every text that has no vector yet."""
        self._under_way: set[str] = set()
        self._room = asyncio.Event()
        self._turn = 0
        self._pumps: set[asyncio.Task[None]] = set()
        self._tokenizer = ThreadPoolExecutor(1, "tokenise")
        self._closed = False

    async def encode(self, texts: Sequence[str]) -> Vectors:
        if self._closed:
            raise EncoderBusy("the encoder is stopping")
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        if not texts:
            return vectors
        future: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        job = _Job(texts, vectors, future, missing=len(texts))
        self._jobs.append(job)
        try:
            for start in range(0, len(texts), _SLICE):
                await self._admit(job, start, texts[start : start + _SLICE])
            return await future
        finally:
            self._forget(job)

    async def close(self) -> None:
        """Refuse new work, and fail every call with EncoderBusy, the one under way, too.

        A stop lets handlers end before it closes the encoder. Calls that still wait may be waiting
        for a model that hangs, or that loads again.
        """
        self._closed = True
        for job in self._jobs:
            _fail(job, EncoderBusy("the encoder is stopping"))
        self._room.set()
        pumps = list(self._pumps)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        await self._device.close()
        self._tokenizer.shutdown(wait=False)

    def _fail_waiting(self, error: EncoderBusy) -> None:
        for job in self._jobs:
            if job.ready:
                _fail(job, error)
        self._room.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _at: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def waiting(self) -> int:
        """Texts queued for the device."""
        return sum(len(job.ready) for job in self._jobs)

    async def _admit(self, job: _Job, start: int, texts: Sequence[str]) -> None:
        """Tokenise texts and queue them for the device, once there is room."""
        while self.waiting >= self._max_waiting and not job.future.done():
            self._room.clear()
            await self._room.wait()
        if job.future.done():
            return
        tokens = await self._tokenise(texts)
        if self._closed:
            raise EncoderBusy("the encoder is stopping")
        job.ready |= dict(enumerate(tokens, start))
        for place, text in enumerate(texts, start):
            self._wanted.setdefault(text, []).append((job, place))
        self._wake()

    async def _tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._tokenizer, self._device.tokenize, texts)
        except InstepError:
            raise
        except Exception as error:
            raise ModelFailed(f"the tokenizer failed: {type(error).__name__}") from error

    def _forget(self, job: _Job) -> None:
        self._jobs.remove(job)
        job.ready.clear()
        for text in set(job.texts).intersection(self._wanted):
            others = [place for place in self._wanted.pop(text) if place[0] is not job]
            if others:
                self._wanted[text] = others
        self._room.set()
        if not job.future.cancelled() and job.future.done():
            job.future.exception()  # marked as seen: the caller is gone
        job.future.cancel()

    def _wake(self) -> None:
        """Make sure that pumps feed the device; they end when no text waits."""
        while len(self._pumps) <= self._device.ahead:
            # an empty context: what the pump logs belongs to no single caller
            pump = asyncio.create_task(self._pump(), context=Context())
            self._pumps.add(pump)

    async def _pump(self) -> None:
        try:
            while rows := self._choose():
                texts = {row.text for row in rows} - self._under_way
                self._under_way |= texts
                await self._encode(rows)
                self._under_way -= texts
        finally:
            task = asyncio.current_task()
            assert task is not None
            self._pumps.discard(task)

    def _choose(self) -> list[_Row]:
        """The next device call; its texts no longer wait."""
        jobs = [job for job in self._jobs if job.ready and not job.future.done()]
        if not jobs:
            return []
        chosen = jobs[whose_turn([job.missing for job in jobs], self._turn)]
        self._turn += 1
        rows = self._in_sight(chosen, jobs)
        lengths, limits = [len(row.tokens) for row in rows], self._limits
        guests = [n for n, row in enumerate(rows) if row.job is not chosen and row.job.is_small]
        batch = next_batch(lengths, 0, **limits)
        taken = [rows[index] for index in with_guests(batch, guests, lengths, 0, **limits)]
        for row in taken:
            del row.job.ready[row.place]
        if self.waiting < self._max_waiting:
            self._room.set()
        return taken

    def _in_sight(self, chosen: _Job, jobs: Sequence[_Job]) -> list[_Row]:
        """Candidates for a batch: texts of the chosen job, of small ones, of the oldest."""
        others = [job for job in jobs if job is not chosen]
        others.sort(key=lambda job: not job.is_small)
        rows: list[_Row] = []
        seen, room = set(self._under_way), self._look_tokens
        for job in (chosen, *others):
            for place, tokens in job.ready.items():
                if place in job.suspects or job.texts[place] in seen:
                    continue
                if room <= 0:
                    return rows
                seen.add(job.texts[place])
                rows.append(_Row(job, place, tokens))
                room -= len(tokens)
            if not rows:
                return [_Row(chosen, *next(iter(chosen.ready.items())))]
        return rows

    async def _encode(self, rows: Sequence[_Row]) -> None:
        """Give every row its vector, or its caller an error."""
        rows = [row for row in rows if not row.job.future.done()]
        if not rows:
            return
        try:
            vectors = await self._run([row.tokens for row in rows], self._within_s(rows))
        except Lost as lost:
            await self._suspect(rows, lost)
            return
        except Absent as absent:
            busy = EncoderBusy(str(absent))
            for row in rows:
                _fail(row.job, busy)
            self._fail_waiting(busy)
            return
        except Exception as error:  # noqa: BLE001 - any error may be one text's fault
            if len(rows) == 1:
                _fail(rows[0].job, await self._verdict(error))
                return
            middle = len(rows) // 2
            await self._encode(rows[:middle])
            await self._encode(rows[middle:])
            return
        for row, vector in zip(rows, vectors, strict=True):
            self._deliver(row, vector)

    def _deliver(self, row: _Row, vector: Vector) -> None:
        """Give the vector to all jobs that wait for this text."""
        _set(row.job, row.place, vector)
        for job, place in self._wanted.pop(row.text, ()):
            if job.ready.pop(place, None) is not None:
                _set(job, place, vector)

    async def _suspect(self, rows: Sequence[_Row], lost: Lost) -> None:
        """Let each of these texts go alone; a text that was alone already has failed."""
        for row in rows:
            if row.place in row.job.suspects:
                _fail(row.job, await self._verdict(lost))
            elif not row.job.future.done():
                row.job.suspects.add(row.place)
                row.job.ready[row.place] = row.tokens

    def _within_s(self, rows: Sequence[_Row]) -> float:
        """Most seconds of a call: all of them, or the share of a text that goes alone."""
        first = rows[0]
        if first.place not in first.job.suspects:
            return self._timeout_s
        share = padded(len(first.tokens)) / self._limits["max_tokens"]
        return self._timeout_s * max(_LEAST_SHARE, share)

    async def _run(self, batch: Sequence[Tokens], within_s: float) -> Vectors:
        """Vectors of a batch. Raises the device's errors, and ModelFailed for unusable vectors."""
        counters = self.counters
        try:
            vectors, seconds = await self._device.run(batch, within_s=within_s)
        except Lost:
            counters.lost += 1
            raise
        if vectors.shape != (len(batch), self.dimensions) or not np.isfinite(vectors).all():
            raise ModelFailed("the model gave no finite vector")
        counters.busy_s += seconds
        counters.batches += 1
        counters.texts += len(batch)
        counters.tokens += sum(map(len, batch))
        counters.padded_tokens += len(batch) * padded(max(map(len, batch)))
        return vectors

    async def _prove(self) -> None:
        """Encode a harmless text. Raises the device's errors."""
        tokens = await self._tokenise(["a text that no model refuses"])
        await self._run(tokens, self._timeout_s * _LEAST_SHARE)

    async def _verdict(self, error: Exception) -> InstepError:
        """The error of a text that failed alone: its own fault, or the device's."""
        if isinstance(error, TransientError):
            return error
        if isinstance(error, MemoryError):
            return EncoderBusy("no memory for a single text")
        try:
            await self._prove()
        except Exception as sick:  # noqa: BLE001 - any failure of this text means a sick device
            busy = EncoderBusy(f"the device fails on every text: {_words(sick)}")
            self._fail_waiting(busy)
            return busy
        failed = ModelFailed(f"on a text alone: {_words(error)}")
        failed.__cause__ = error
        return failed


def _words(error: Exception) -> str:
    """The part of an error to show: a library may quote the text."""
    ours = isinstance(error, InstepError | Lost | Absent)
    return str(error) if ours else f"the model failed: {type(error).__name__}"


def _set(job: _Job, place: int, vector: Vector) -> None:
    job.vectors[place] = vector
    job.missing -= 1
    if not job.missing and not job.future.done():
        job.future.set_result(job.vectors)


def _fail(job: _Job, error: InstepError) -> None:
    job.ready.clear()
    if not job.future.done():
        job.future.set_exception(error)
