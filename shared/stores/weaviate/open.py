"""Opens a Weaviate collection: connect, ask for the version, create it or compare its schema.

The client reports a certificate that it does not trust as a server that does not answer, and tries
again for a minute. So this module first makes a TLS handshake with both ports itself.
"""

import asyncio
import contextlib
import logging
import ssl
import uuid
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import structlog

from shared.domain.errors import ConfigurationError, StoreMismatch, StoreUnavailable
from shared.domain.filters.terms import COLUMN as TERMS
from shared.stores.weaviate.answers import fault_of
from shared.stores.weaviate.limits import (
    CONNECT_S,
    INSERT_S,
    QUERY_S,
    SCHEMA_S,
    TRY_AGAIN_S,
    bounded,
)
from shared.stores.weaviate.schema import (
    ADDED,
    COLUMNS,
    TERMS_WRITTEN,
    WORDS,
    WORDS_AWAITED,
    WORDS_WRITTEN,
    Column,
    WordsNote,
    can_exclude,
    described,
    differences,
    judge_version,
    noted,
)

if TYPE_CHECKING:
    from weaviate import WeaviateAsyncClient
    from weaviate.classes.config import Property
    from weaviate.collections.classes.config import _CollectionConfig as Config


def context_of(authority: Path | None) -> ssl.SSLContext:
    """The TLS context for a server.

    Args:
        authority: file with the certificates that sign the server's; None: those that the HTTP
            client comes with.

    Raises:
        ConfigurationError: the file holds none.
    """
    import httpx

    if authority is None:
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=authority)
    except ssl.SSLError as error:
        why = f"no certificate in it ({error.reason or 'not PEM'})"
    except OSError as error:
        why = error.strerror or type(error).__name__
    raise ConfigurationError(f"store.weaviate.tls_ca: {authority}: {why}")


def channel_credentials(authority: Path | None) -> Any:
    """The same for gRPC."""
    import grpc  # type: ignore[import-untyped]

    return grpc.ssl_channel_credentials(authority.read_bytes() if authority else None)


def have_trust(client: "WeaviateAsyncClient", context: ssl.SSLContext) -> None:
    """Let the client's HTTP connections use the context, which it has no setting for.

    Only before it connects.
    """
    import httpx

    connection: Any = client._connection

    def make(_colour: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(headers=connection._headers, verify=context, trust_env=False)

    connection._make_client = make


async def shake_hands(address: tuple[str, int], context: ssl.SSLContext, within_s: float) -> None:
    """Connect once, and let go.

    Raises:
        ConfigurationError: another certificate than one that is trusted, or no TLS.
        StoreUnavailable: nobody answers.
    """
    host, port = address
    try:
        async with asyncio.timeout(within_s):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    except (TimeoutError, OSError) as error:
        if why := refusal(error):
            raise ConfigurationError(f"Weaviate at {host}:{port} {why}") from None
        raise StoreUnavailable(f"Weaviate at {host}:{port}: {type(error).__name__}") from error


def refusal(error: Exception) -> str:
    """Why trying again cannot help, as what follows the server; empty where it may. Pure."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"has a certificate that this process does not trust ({error.verify_message}): "
            "look at store.weaviate.tls_ca"
        )
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "does not speak TLS: look at store.weaviate.url"
    return ""


log = structlog.get_logger(__name__)

GRPC_PORT: Final = 50051
UNNAMED: Final = "unnamed"
"""The description of a collection by an earlier version, which did not describe it."""
CHANNEL: Final = (
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)
"""A server that returns is seen within two seconds, one that vanished silently within 30."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens.

    http, grpc: host and port. secure: TLS on both. authority: file with the certificates that
    sign the server's; None: those that the client comes with.
    """

    http: tuple[str, int]
    grpc: tuple[str, int]
    secure: bool
    authority: Path | None = None

    @classmethod
    def of(cls, url: str, grpc: str | None = None, authority: Path | None = None) -> "Address":
        """
        Args:
            url: e.g. `https://host:8080`.
            grpc: e.g. `host:50051`; default: the host of `url`, port 50051.

        Raises:
            ConfigurationError: not an address, or one that would not be encrypted.
        """
        if authority is not None and not url.startswith("https://"):
            raise ConfigurationError(
                "store.weaviate.tls_ca is set, and store.weaviate.url does not begin with https://"
            )
        try:
            parts = urlsplit(url)
            other = urlsplit(f"//{grpc}" if grpc else f"//{parts.hostname}:{GRPC_PORT}")
            if parts.scheme not in ("http", "https") or not parts.hostname or not other.hostname:
                raise ValueError
            secure = parts.scheme == "https"
            return cls(
                (parts.hostname, parts.port or (443 if secure else 80)),
                (other.hostname, other.port or GRPC_PORT),
                secure,
                authority,
            )
        except ValueError:
            raise ConfigurationError(
                "store.weaviate: url is like http://host:8080 and grpc like host:50051"
            ) from None


@dataclass(frozen=True, slots=True)
class CollectionPlace:
    """A collection. replicas: nodes that keep a row; alias: another name for it."""

    name: str
    replicas: int = 1
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class OpenCollection:
    """A collection that can be read and written. created: it was not there."""

    created: bool
    notice: str
    """A message about the server for people; may be empty."""
    incarnation: str
    """A new value each time that the collection is made."""
    words: WordsNote
    excludes: bool
    """The filters of the server know NOT."""


async def connect(address: Address, api_key: str | None) -> "WeaviateAsyncClient":
    """A client that is connected; it connects again by itself.

    Raises:
        StoreUnavailable: nobody answers.
        ConfigurationError: the key or its certificate is refused, or the server is too old.
    """
    import weaviate
    from weaviate.classes.init import AdditionalConfig, Auth, Timeout
    from weaviate.config import GrpcConfig

    context = await _trust(address) if address.secure else None
    # it would print the rows that the server refuses, with all that is in them
    logging.getLogger("weaviate-client").setLevel(logging.CRITICAL)
    client = weaviate.use_async_with_custom(
        http_host=address.http[0],
        http_port=address.http[1],
        http_secure=address.secure,
        grpc_host=address.grpc[0],
        grpc_port=address.grpc[1],
        grpc_secure=address.secure,
        auth_credentials=Auth.api_key(api_key) if api_key else None,
        skip_init_checks=True,  # they also ask a package index for the client's newest version
        additional_config=AdditionalConfig(
            timeout=Timeout(init=CONNECT_S, query=QUERY_S, insert=INSERT_S),
            grpc_config=GrpcConfig(
                channel_options=list(CHANNEL),
                credentials=channel_credentials(address.authority) if address.secure else None,
            ),
        ),
    )
    if context is not None:
        have_trust(client, context)
    async with _closing_on_error(client), bounded(CONNECT_S):
        await client.connect()
    return client


async def _trust(address: Address) -> ssl.SSLContext:
    """The TLS context, once both ports have shown a trusted certificate. Raises as `connect`."""
    context = await asyncio.to_thread(context_of, address.authority)
    for port in (address.http, address.grpc):
        await shake_hands(port, context, CONNECT_S)
    return context


async def open_collection(
    client: "WeaviateAsyncClient", name: str, *, replicas: int = 1
) -> OpenCollection:
    """Create the collection, or compare its schema with the wanted one.

    Raises:
        StoreMismatch: it was made otherwise, or changed by hand.
        ConfigurationError: the server is too old, or refuses the key.
        StoreUnavailable: nothing is known.
    """
    async with bounded(SCHEMA_S):
        version = str((await client.get_meta()).get("version", ""))
        notice = judge_version(version)
        if not await client.is_ready():
            raise StoreUnavailable("Weaviate is starting")
        created = not await client.collections.exists(name)
        if created:
            created = await _create(client, name, replicas)
        config = await client.collections.use(name).config.get()
        missing = ADDED.keys() - described(config).columns.keys()
        if missing and len(differences(described(config))) == len(missing):
            config = await _with_added(client, name, missing)
    if found := differences(described(config)):
        raise StoreMismatch(
            f"the collection {name} is not as instep makes it ({'; '.join(found)}): "
            "delete the collection, and instep makes it anew and fills it from its ledger and its "
            "cache; or set another store.weaviate.prefix, which fills another and keeps this one"
        )
    return OpenCollection(
        created, notice, config.description or UNNAMED, noted(config), can_exclude(version)
    )


async def _with_added(
    client: "WeaviateAsyncClient", name: str, missing: Collection[str]
) -> "Config":
    """Add properties of `ADDED` to a collection of a version before; returns its schema."""
    from weaviate.exceptions import UnexpectedStatusCodeError

    handle = client.collections.use(name)
    for column in COLUMNS:
        if column.name in missing:
            with contextlib.suppress(UnexpectedStatusCodeError):  # another process was faster
                await handle.config.add_property(_property(column, ADDED[column.name]))
    return await handle.config.get()


async def words_note(client: "WeaviateAsyncClient", name: str) -> WordsNote:
    """What a collection notes of the words and terms of its rows. Raises as `open_collection`."""
    async with bounded(SCHEMA_S):
        return noted(await client.collections.use(name).config.get())


async def note_words(client: "WeaviateAsyncClient", name: str, others: Sequence[str]) -> None:
    """Note that every row has the words of this version, and none those of others.

    Raises as `open_collection`.
    """
    notes = dict.fromkeys(others, WORDS_AWAITED) | {WORDS: WORDS_WRITTEN}
    await _note(client, name, notes)


async def note_terms(client: "WeaviateAsyncClient", name: str) -> None:
    """Note that every row has its terms for filters. Raises as `open_collection`."""
    await _note(client, name, {TERMS: TERMS_WRITTEN})


async def _note(client: "WeaviateAsyncClient", name: str, notes: dict[str, str]) -> None:
    """Write descriptions of properties, whoever else changes the collection meanwhile.

    The server refuses a change while it works on another, for its shards are read-only then.
    """
    from weaviate.exceptions import UnexpectedStatusCodeError

    handle = client.collections.use(name)
    async with bounded(SCHEMA_S):
        while True:
            try:
                return await handle.config.update(property_descriptions=notes)
            except UnexpectedStatusCodeError as error:
                if fault_of(type(error).__name__, str(error)) != "changing":
                    raise
                await asyncio.sleep(TRY_AGAIN_S)


async def incarnation(client: "WeaviateAsyncClient", name: str) -> str | None:
    """That of a collection; None: there is none. Raises as `open_collection`."""
    async with bounded(SCHEMA_S):
        if not await client.collections.exists(name):
            return None
        return (await client.collections.use(name).config.get()).description or UNNAMED


async def make_anew(client: "WeaviateAsyncClient", place: CollectionPlace) -> OpenCollection:
    """Create a collection that is gone, or compare one that is there. Raises as `open_collection`.

    A server that makes collections by itself makes one of another shape for the next row.
    """
    opened = await open_collection(client, place.name, replicas=place.replicas)
    await point(client, place)
    if opened.created:
        log.warning("collection_made_anew", name=place.name)
    return opened


async def point(client: "WeaviateAsyncClient", place: CollectionPlace) -> None:
    """Let the alias, if there is one, name the collection. Raises as `open_collection`."""
    from weaviate.exceptions import UnexpectedStatusCodeError

    alias, name = place.alias, place.name
    if not alias:
        return
    async with bounded(SCHEMA_S):
        found = await client.alias.get(alias_name=alias)
        if found is None:
            try:
                await client.alias.create(alias_name=alias, target_collection=name)
            except UnexpectedStatusCodeError:
                found = await client.alias.get(alias_name=alias)
                if found is None:  # no other process was faster
                    raise
        if found is not None and found.collection != name:
            await client.alias.update(alias_name=alias, new_target_collection=name)


async def _create(client: "WeaviateAsyncClient", name: str, replicas: int) -> bool:
    """Whether it was made here, and not by another process at the same moment."""
    from weaviate.classes.config import Configure, ReplicationDeletionStrategy, VectorDistances
    from weaviate.exceptions import UnexpectedStatusCodeError

    hnsw = Configure.VectorIndex.hnsw(
        distance_metric=VectorDistances.COSINE,
        quantizer=Configure.VectorIndex.Quantizer.rq(),
    )
    try:
        await client.collections.create(
            name,
            description=f"made by instep, {uuid.uuid4()}",
            vector_config=Configure.Vectors.self_provided(vector_index_config=hnsw),
            properties=[
                _property(column, {WORDS: WORDS_WRITTEN, TERMS: TERMS_WRITTEN}.get(column.name))
                for column in COLUMNS
            ],
            replication_config=Configure.replication(
                factor=replicas,
                # a node that was away gets what it missed; 1.39 does it for all
                async_enabled=replicas > 1,
                deletion_strategy=ReplicationDeletionStrategy.TIME_BASED_RESOLUTION,
            ),
        )
    except UnexpectedStatusCodeError:
        if not await client.collections.exists(name):
            raise
        return False
    return True


def _property(column: Column, description: str | None) -> "Property":
    from weaviate.classes.config import DataType, Property, Tokenization

    kinds = {
        "text": DataType.TEXT,
        "text[]": DataType.TEXT_ARRAY,
        "int": DataType.INT,
        "number[]": DataType.NUMBER_ARRAY,
    }
    return Property(
        name=column.name,
        description=description,
        data_type=kinds[column.kind],
        index_filterable=column.filtered,
        index_range_filters=column.ranged,
        index_searchable=column.searched,
        tokenization=_tokenization(column, Tokenization),
    )


def _tokenization(column: Column, names: Any) -> Any:
    if column.kind not in ("text", "text[]"):
        return None
    if column.ready:
        return names.WHITESPACE
    return names.FIELD if column.whole else names.WORD


@asynccontextmanager
async def _closing_on_error(client: "WeaviateAsyncClient") -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        await client.close()
        raise
