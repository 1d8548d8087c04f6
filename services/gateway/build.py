"""The gateway, built from a process's adapters."""

import asyncio
import contextlib
import errno
import secrets
import time
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from aiohttp import BadContentDispositionHeader, BadContentDispositionParam, web

from services.gateway.access.bearer import NONE_NEEDED, Credentials
from services.gateway.access.keyring import Keyring
from services.gateway.access.requests import is_loopback
from services.gateway.access.sessions import BrowserSessions
from services.gateway.answers import Faces
from services.gateway.app import build_app, refused
from services.gateway.commands import InstanceCommands, Validate
from services.gateway.documents.failures import is_nobodys
from services.gateway.models import CheckView, SourceView
from services.gateway.queries import InstanceQueries, Wanted, all_letters
from services.gateway.search.apart import SearchProcess, ServedInstance
from services.gateway.search.rerank import HttpReranker
from services.gateway.search.search import Search
from services.gateway.status.snapshots import InstanceSnapshots
from services.gateway.status.status import Observation, PastFolder, StageSeen, alerts
from services.gateway.status.sweeps import Sweeps
from services.gateway.uploads.uploads import Uploads
from services.gateway.webhooks.runner import AT_ONCE, EventSelection, Runner
from services.gateway.webhooks.sender import HttpSender
from services.gateway.webhooks.signature import secret_bytes
from services.gateway.webhooks.webhooks import Webhooks
from services.host.data_folder import DataFolder
from services.host.http_server import LimitedRunner
from services.host.owner_key import OWNER_KEY, made_owner_key
from services.host.service import Part
from services.host.wiring import WEBHOOKS, OpenGeneration
from shared.batches.members import BatchBook
from shared.bus.access.permissions import inbox_of
from shared.bus.delivery import dead_letters
from shared.bus.jetstream.buckets import KvBucket
from shared.bus.jetstream.intake import IntakeClient
from shared.bus.jetstream.results import JetResults
from shared.bus.monitor import watchers
from shared.bus.monitor.flow import capacities, flow, unrecorded
from shared.bus.monitor.watched import Watched, all_listed
from shared.bus.monitor.watchers import Watchers
from shared.bus.session import BusSession
from shared.domain.errors import BusUnavailable, ConfigurationError, TransientError
from shared.domain.services import stages
from shared.domain.text import language
from shared.domain.topology import ACCEPT, BATCHES, INSTANCE
from shared.encoders.registry import languages
from shared.observe.progress import SourceHealth
from shared.ports import DeadLetter, GetEncoder, GetStore, Hold, Holds, Ledger, Shelf
from shared.processes import processors
from shared.settings import Gateway, Settings, Webhook

if TYPE_CHECKING:
    from services.gateway.access.oidc import TokenVerifier

PORTS_TRIED: Final = 20
AGAIN_S: Final = 5.0
"""Between two tries to load the model."""
SEARCHED_APART: Final = ("auto", "sqlite")
"""Kinds of stores in files, which a process that only reads does not make anew."""
SHORTEST_KEY: Final = 16
LONGEST_KEY: Final = 256

log = structlog.get_logger(__name__)


async def build(opened: OpenGeneration, everything: Callable[[], Awaitable[Faces]]) -> Part:
    """The web application; its address goes to `opened.host.gateway_url`.

    It listens before model and store are loaded, and refuses requests that need them until then.
    """
    gateway = opened.host.settings.gateway
    known = credentials(gateway, opened.host.data)
    for warning in (BadContentDispositionHeader, BadContentDispositionParam):
        warnings.simplefilter("ignore", warning)  # it would print headers of clients
    await opened.host.session.heartbeat.listen()
    shown = await everything()
    results = JetResults(opened.host.session.js, opened.generation.id)
    tokens = token_verifier(gateway)
    if known.are_asked_for:
        known = replace(
            known,
            keys=Keyring(await opened.host.shelf(INSTANCE)),
            sessions=BrowserSessions(known.owner or ""),
            tokens=tokens.verify if tokens else None,
        )
    app = build_app(
        shown.queries,
        shown.commands,
        known=known,
        uploads=shown.uploads,
        results=results,
        webhooks=shown.webhooks,
    )

    async def listen() -> None:
        runner = LimitedRunner(app, refusal=refused, shutdown_timeout=2.0)
        await runner.setup()
        try:
            port = await _site(runner, gateway.host, gateway.port)
            host = f"[{gateway.host}]" if ":" in gateway.host else gateway.host
            if known.sessions is not None:
                opened.host.browser_path, _ = known.sessions.once()
            opened.host.gateway_url.set_result(f"http://{host}:{port}")
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
            if tokens:
                await tokens.close()

    sending = (runner.run for runner in shown.webhooks.runners)
    return Part(loops=(listen, partial(load, opened), shown.queries.keep_up, *sending))


async def load(opened: OpenGeneration) -> None:
    """Load model and store; requests that need one get the error of its loading.

    A model whose process died while it loaded is tried again: no other part of a gateway asks for
    it, and a gateway that is not ready gets no questions.
    """

    async def model() -> None:
        while True:
            try:
                await opened.encoder()
            except TransientError:
                await asyncio.sleep(AGAIN_S)
            else:
                return

    async def languages_of_questions() -> None:
        if languages(opened.host.settings.embedding):
            await asyncio.to_thread(language.load)

    await asyncio.gather(model(), opened.store(), languages_of_questions(), return_exceptions=True)


def credentials(gateway: Gateway, data: Path) -> Credentials:
    """What requests must show: the key of the settings, else the owner's of the data folder.

    Raises:
        ConfigurationError: the gateway would be open to other machines, or a key cannot be had.
    """
    here = is_loopback(gateway.host)
    if gateway.auth == "none":
        if gateway.key_file is not None or gateway.oidc.issuer is not None or not here:
            wrong = "gateway.key_file" if gateway.key_file is not None else "gateway.oidc.issuer"
            wrong = wrong if here else f"gateway.host {gateway.host}"
            raise ConfigurationError(
                'gateway.auth: "none" is for loopback addresses without keys and tokens, and '
                f"{wrong} is set"
            )
        return NONE_NEEDED
    if gateway.key_file is not None:
        return Credentials(read_key(gateway.key_file))
    if not here:
        raise ConfigurationError(
            "gateway.host: without a key the gateway listens on loopback addresses only: set "
            "gateway.key_file, as `instep keys bus` makes one"
        )
    DataFolder(data).create()
    key, replaced = made_owner_key(data)
    if replaced:
        log.warning(
            "owner_key_is_new",
            reason=f"other users could read {data / OWNER_KEY}, so it holds another key now",
        )
    return Credentials(key, any_host=False)


def token_verifier(gateway: Gateway) -> "TokenVerifier | None":
    """Verifies the tokens of the issuer that the settings name; None: they name none."""
    if gateway.oidc.issuer is None:
        return None
    from services.gateway.access.oidc import TokenVerifier

    return TokenVerifier(gateway.oidc)


def read_key(file: Path, setting: str = "gateway.key_file") -> str:
    """The key in a file. Raises ConfigurationError."""
    try:
        key = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{setting}: {file} cannot be read ({error})") from None
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY or not key.isprintable():
        raise ConfigurationError(
            f"{setting}: {file} shall hold one line of {SHORTEST_KEY} to {LONGEST_KEY} "
            "letters, digits and signs"
        )
    return key


async def _site(runner: web.AppRunner, host: str, port: int) -> int:
    """Listen on the port, or on the next free one; returns the port."""
    for tried in range(port, port + PORTS_TRIED if port else 1):
        site = web.TCPSite(runner, host, tried)
        try:
            await site.start()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigurationError(f"gateway.host {host}: {error.strerror}") from None
            continue
        return int(runner.addresses[0][1])
    raise ConfigurationError(f"ports {port} to {port + PORTS_TRIED - 1} are all taken; use --port")


async def faces(
    opened: OpenGeneration,
    store: GetStore,
    encoder: GetEncoder,
    validation: Validate,
    sweeps: Sweeps,
    left: Holds | None = None,
) -> Faces:
    """All queries and commands of the instance.

    Args:
        store, encoder: wait until they are loaded, or raise StillLoading.
        validation: the validator's comparison of the index with its expected content.
        sweeps: the same for every row, with repair.
        left: removals as the last process left them, if none runs; None: the processes that
            watch are asked.
    """
    ledger, generation = await opened.ledger(), opened.generation.id
    instance = await opened.host.shelf(INSTANCE)
    expected = opened.host.settings.watched
    looks = await looks_of(opened, left)
    letters = _Letters(opened.host.session)
    webhooks = Webhooks() if left else await opened.once(WEBHOOKS, partial(_webhooks, opened))
    asked = Watchers(opened.host.session.client, instance, expected)
    queries = InstanceQueries(
        search_index=replace(
            search_of(opened, store, encoder, ledger, looks),
            reranker=_reranker(opened),
            apart=_apart(opened),
        ),
        store=store,
        ledger=ledger,
        changes=opened.host.changes,
        looks=looks,
        removals=left or asked,
        explain=None if left else asked.explain,
        check=_checks(opened, webhooks),
        generation=generation,
        version_text=version("instep"),
        sources=sources(opened.host.settings),
        reports=await opened.host.history(),
        book=BatchBook(await opened.host.shelf(BATCHES), generation),
        results=JetResults(opened.host.session.js, generation),
        dead_letters=letters,
        sweeper=sweeps,
        loading=opened.loading,
    )
    commands = InstanceCommands(
        queries=queries,
        changes=opened.host.changes,
        ledger=ledger,
        generation=generation,
        validation=validation,
        dead_letters=letters,
        sweeper=sweeps,
    )
    uploads = None if left else _uploads(opened, queries)
    return Faces(queries, commands, uploads, webhooks=webhooks)


def search_of(
    opened: OpenGeneration,
    store: GetStore,
    encoder: GetEncoder,
    ledger: Ledger,
    looks: InstanceSnapshots,
) -> Search:
    """The search of a generation, without reranker. `store`, `encoder`: as for `faces`."""
    settings = opened.host.settings
    return Search(
        store=store,
        ledger=ledger,
        encoder=encoder,
        generation=opened.generation.id,
        defaults=settings.search,
        behind=looks.freshness,
        records=looks.watch.records,
        languages=languages(settings.embedding),
        declared={n: one.fields for n, one in settings.sources.items()},
    )


def _apart(opened: OpenGeneration) -> SearchProcess | None:
    """The process that answers searches where this one indexes documents, too.

    None where it would have no processor of its own; where it would see no rows, or could make a
    lost index anew before its parent sees the loss; and where a reranker is asked, which takes
    longer than all else.
    """
    host, settings = opened.host, opened.host.settings
    only_reads = bool(host.bus_url) and settings.store.kind in SEARCHED_APART
    if not only_reads or settings.search.rerank.url or processors() < 2:
        return None
    made = SearchProcess(ServedInstance(settings, host.data, host.bus_url, opened.generation))
    opened.stack.push_async_callback(made.close)
    return made


async def _webhooks(opened: OpenGeneration) -> Webhooks:
    """The webhooks of the settings. Raises ConfigurationError: a secret cannot be had."""
    declared, js = opened.host.settings.webhooks, opened.host.session.js
    if not declared:
        return Webhooks()
    records = KvBucket(js, INSTANCE.name)
    runners = [
        Runner(
            name,
            EventSelection(opened.generation.id, one.types, one.sources),
            _secret(name, one),
            HttpSender(one.url.get_secret_value(), at_once=AT_ONCE),
            JetResults(js, "*"),
            records,
        )
        for name, one in declared.items()
    ]
    return Webhooks(declared, records, runners)


def _secret(name: str, webhook: Webhook) -> bytes:
    secret = webhook.secret.get_secret_value() if webhook.secret else None
    if secret is None:
        assert webhook.secret_file is not None, "the settings have refused one without both"
        secret = read_key(webhook.secret_file, f"webhooks.{name}.secret_file")
    try:
        return secret_bytes(secret)
    except ValueError as error:
        raise ConfigurationError(f"webhooks.{name}: {error}") from None


def _reranker(opened: OpenGeneration) -> HttpReranker | None:
    settings = opened.host.settings.search.rerank
    if settings.url is None:
        return None
    key = settings.key.get_secret_value() if settings.key else None
    if key is None and settings.key_file:
        key = read_key(settings.key_file, "search.rerank.key_file")
    reranker = HttpReranker(settings, key)
    opened.stack.push_async_callback(reranker.close)
    return reranker


def _uploads(opened: OpenGeneration, queries: InstanceQueries) -> Uploads:
    session, inbox = opened.host.session, f"{inbox_of('gateway')}.receipts"
    return Uploads(
        IntakeClient(session.client, session.js, f"{inbox}.{secrets.token_urlsafe(24)}"),
        opened.host.changes,
        queries,
        present=partial(session.heartbeat.count, ACCEPT),
        most_bytes={name: one.max_bytes for name, one in opened.host.settings.sources.items()},
    )


def sources(settings: Settings) -> tuple[SourceView, ...]:
    """The sources of the settings, each with its place."""
    return tuple(
        SourceView(name=name, kind=one.kind, path=one.place)
        for name, one in settings.sources.items()
    )


async def looks_of(opened: OpenGeneration, left: Holds | None = None) -> InstanceSnapshots:
    """This process's view of the whole instance; every call returns the same one.

    Args:
        left: as for `faces`.
    """

    async def make() -> InstanceSnapshots:
        instance = await opened.host.shelf(INSTANCE)
        return InstanceSnapshots(_observer(opened, instance, left), await opened.ledger())

    return await opened.once("looks", make)


def _observer(
    opened: OpenGeneration, instance: Shelf, left: Holds | None
) -> Callable[[], Awaitable[Observation]]:
    expected = opened.host.settings.watched
    observed = stages(opened.generation.id)
    heartbeat = opened.host.session.heartbeat

    async def observe() -> Observation:
        now = time.time()
        if left is None:
            told = await watchers.told(instance, expected)
            folders = _watched(await watchers.present(opened.host.session.client, told), now)
        else:
            folders = _as_left(await watchers.last_told(instance), await left.list(), now)
        seen = await flow(opened.host.session.js, observed)
        return Observation(
            at=now,
            stages=tuple(
                StageSeen(
                    name=stage.word,
                    takes=stage.takes,
                    waiting=s.waiting,
                    running=s.running,
                    done=s.done,
                    oldest_at=s.oldest_at,
                    replicas=heartbeat.count(stage),
                )
                for stage, s in zip(observed, seen, strict=True)
            ),
            listed=folders.listed,
            sources=folders.health,
            held=sum(folders.held_of.values()),
            held_of=folders.held_of,
            watched_at=folders.watched_at,
            past={
                one.source: PastFolder(min(one.at, now), one.path, one.same_as, one.kind)
                for one in await watchers.past(instance, expected)
            },
        )

    return observe


class _Folders(NamedTuple):
    listed: bool
    held_of: Mapping[str, int]
    """Documents whose removal waits, by source."""
    health: Mapping[str, SourceHealth]
    watched_at: float | None = None
    """Unix time; None: they are watched now."""


def _watched(told: Sequence[Watched], now: float) -> _Folders:
    """The folders as the processes that watch them report them. Pure."""
    held = {one.source: one.hold.vanished for one in told if one.hold and one.hold.waits}
    return _Folders(all_listed(told, now), held, {one.source: one.health(now) for one in told})


def _as_left(told: Sequence[Watched], holds: Sequence[Hold], now: float) -> _Folders:
    """The folders as the last process left them; without a watched one, no change is missed. Pure.

    Changes in a folder after its last report are not known, so the oldest report counts for all.
    """
    return _Folders(
        listed=all(one.listed for one in told),
        held_of={hold.source: hold.vanished for hold in holds if hold.waits},
        health={one.source: SourceHealth(one.error, dict(one.problems), one.more) for one in told},
        watched_at=min((one.at for one in told), default=now),
    )


def _checks(
    opened: OpenGeneration, webhooks: Webhooks
) -> Callable[[], Awaitable[Sequence[CheckView]]]:
    async def check() -> Sequence[CheckView]:
        healthy = opened.host.session.healthy()
        found = [
            CheckView(
                name="bus",
                level="ok" if healthy else "FAIL",
                text="connected, every stage receives" if healthy else "not connected",
                fix="" if healthy else "instep doctor",
            )
        ]
        missing = opened.loading()
        try:
            if "store" not in missing:
                rows = await (await opened.store_now()).count()
                found.append(CheckView(name="store", level="ok", text=f"{rows:,} rows"))
        except Exception as error:  # noqa: BLE001 - a check reports, it never fails
            missing["store"] = str(error)
        found += [
            CheckView(name=what, level="FAIL", text=why, fix="see the log of instep")
            for what, why in sorted(missing.items(), reverse=True)
        ]
        with contextlib.suppress(BusUnavailable):  # reported above
            found += alerts(
                await capacities(opened.host.session.js), await unrecorded(opened.host.session.js)
            )
            found += await webhooks.checks()
        return found

    return check


@dataclass(frozen=True, slots=True)
class _Letters:
    session: BusSession

    async def list(self, *, limit: int, wanted: Wanted = all_letters) -> Sequence[DeadLetter]:
        """Dead letters missing from the ledger."""
        return await dead_letters.letters(
            self.session.js, limit=limit, wanted=lambda one: is_nobodys(one) and wanted(one)
        )

    async def drop(self, id: int) -> bool:
        return await dead_letters.drop(self.session.js, id)
