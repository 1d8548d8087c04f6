"""Every setting, with its type, range and default."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    field_validator,
    model_validator,
)

from shared.domain import template
from shared.domain.addresses import bucket_address, sql_address, web_address
from shared.domain.addresses.sql_address import fault_of_query
from shared.domain.filters.kinds import FieldKind, fault_of_name
from shared.domain.ids import PREFIX_PATTERN, SOURCE_PATTERN
from shared.domain.metadata import stored_name

_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_UNITS_BYTES: Final = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}


def _quantity(units: Mapping[str, float], example: str) -> Any:
    def parse(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", value)
        if not match or match[2] not in units:
            raise ValueError(f'give a unit, as "{example}" ({", ".join(units)})')
        return float(match[1]) * units[match[2]]

    return BeforeValidator(parse)


Seconds = Annotated[float, _quantity(_UNITS_S, "5 min"), Field(ge=0)]
Bytes = Annotated[int, _quantity(_UNITS_BYTES, "100 MB"), Field(ge=1)]


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _switched(value: Any) -> Any:
    """A group that can be switched on as it is."""
    words = {"true": True, "false": False}
    value = words.get(value.lower(), value) if isinstance(value, str) else value
    return {} if value is True else None if value is False else value


def _dotted(value: Any) -> Any:
    """A table of names that may have dots in them, which a file and a variable read as tables."""
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for name, one in value.items():
        if isinstance(one, dict):
            found |= {f"{name}.{rest}": kind for rest, kind in _dotted(one).items()}
        else:
            found[name] = one
    return found


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Several texts; as one text, with commas between them."""


class SettingsGroup(BaseModel):
    """A table of settings; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Chunking(SettingsGroup):
    """How text is cut. Part of a generation: another value is another index."""

    kind: Literal["document", "recursive", "fixed"] = "document"
    tokens: int = Field(default=220, ge=16, le=4096)
    """Most tokens of a chunk, context line included; never above the model's window."""
    overlap: float = Field(default=0.12, ge=0.0, le=0.5)
    """Share of a chunk repeated from its neighbour where a unit of text had to be cut."""


class TemplateChunking(Chunking):
    """How text of a source with a template is cut."""

    template: str


class SourceChunking(SettingsGroup):
    """How text of one source is cut, where that differs from `chunking`."""

    kind: Literal["document", "recursive", "fixed"] | None = None
    tokens: int | None = Field(default=None, ge=16, le=4096)
    overlap: float | None = Field(default=None, ge=0.0, le=0.5)
    template: str | None = None
    """The text that is embedded for a chunk, with {text}, {title}, {heading} and names of metadata
    in braces, as "{title} {title} {text}". Empty: a line of title and headings, then the text; that
    is the default of documents. The default of records has the title twice."""

    @field_validator("template")
    @classmethod
    def _is_template(cls, value: str | None) -> str | None:
        if value:
            template.parse(value)
        return value


class SourceSettings(SettingsGroup):
    """A named origin of documents: what all kinds have in common."""

    max_bytes: Bytes = 100 * 1024**2
    allow_references: Names = ()
    """Folders and places of the web that submissions may refer to, as `file:///srv/docs/` or
    `https://files.example.org/docs/`."""
    chunking: SourceChunking = SourceChunking()
    """Values for this source in place of `chunking`; a change cuts its documents again."""
    fields: Annotated[dict[str, FieldKind], BeforeValidator(_dotted)] = {}
    """Names of metadata that searches may filter by, and the kind of each: keyword, keywords,
    number, date or boolean."""

    @field_validator("fields")
    @classmethod
    def _can_be_asked_for(cls, value: dict[str, FieldKind]) -> dict[str, FieldKind]:
        for name in value:
            if fault := fault_of_name(name):
                raise ValueError(f"{name[:80]!r}: {fault}")
        return value

    @field_validator("allow_references")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in filter(web_address.is_web, value):
            web_address.normal(url)
        return value

    @property
    def place(self) -> str | None:
        """Where it is, for people, without secrets; None: documents come from elsewhere."""
        return None

    @property
    def has_records(self) -> bool:
        """Its documents are records: short texts, about which the title says most."""
        return False

    @property
    def cut(self) -> SourceChunking:
        """How its text is cut: `chunking`, with the template of records where it has records."""
        if self.has_records and self.chunking.template is None:
            return self.chunking.model_copy(update={"template": template.OF_RECORDS})
        return self.chunking


class Records(SettingsGroup):
    """Which fields of a record are what."""

    key: Names = ("id", "key", "_id")
    """The first of these fields that a record has names its document; every record needs it."""
    title: Names = ("title", "name", "subject")
    """The first of these fields that a record has is its title."""
    body: Names = ()
    """Fields whose text is indexed; empty: all but key and title. Others become metadata."""
    static_score: str = "static_score"
    is_active: str = "is_active"
    """A record whose field says false is kept and not searchable."""


class PushSettings(SourceSettings):
    """Documents that programs publish."""

    kind: Literal["push"]
    allow_private: Names = ()
    """Hosts, addresses and networks that references may lead to though they are not public."""


class WatchedSettings(SourceSettings):
    """A place that instep lists, again and again."""

    kind: str
    include: Names = ()
    """Patterns as in `.gitignore`, on the path below the root; empty: every known format."""
    exclude: Names = ()
    """Patterns of the same kind; what they match is left out, and leaves the index."""
    watch: Literal["auto", "events", "poll"] = "auto"
    rescan: Seconds = 300.0
    """Interval of listings beside events."""
    poll: Seconds = 2.0
    """Interval of listings when events cannot be had."""
    settle: Seconds = 0.02
    """A file is read when it has not changed for this long."""
    hold_share: float = Field(default=0.5, ge=0.0, le=1.0)
    """Removals of more than this share of the documents wait for a person."""
    hold_count: int = Field(default=20, ge=1)
    """Fewer removals than this never wait, unless another folder has the name of the root."""
    records: Annotated[Records | None, BeforeValidator(_switched)] = None
    """Each record of a CSV, TSV, JSON or JSON Lines file is a document, `file.csv#key`. `true`, or
    a table that tells which fields are what."""

    @model_validator(mode="after")
    def _fields_are_as_stored(self) -> "WatchedSettings":
        """A filter over a name that no file can have would never match."""
        for name in () if self.has_records else self.fields:  # those of records stay as they are
            if (stored := stored_name(name)) == "title":
                raise ValueError(f"fields.{name}: a title is no metadata; words find it")
            if stored != name:
                raise ValueError(
                    f"fields.{name}: what front matter calls {name} has the name {stored} in the "
                    f"metadata: declare {stored}"
                )
        return self

    @property
    def has_records(self) -> bool:
        return self.records is not None


class FolderSettings(WatchedSettings):
    """A folder with all below it."""

    kind: Literal["folder"] = "folder"
    path: Path
    gitignore: bool = True
    """Leave out what `.gitignore` and `.git/info/exclude` name. `.instepignore` always counts."""

    @property
    def place(self) -> str:
        return str(self.path.resolve())


class BucketSettings(WatchedSettings):
    """A bucket of object storage, or the part below a prefix."""

    kind: Literal["bucket"]
    url: str
    """Of a bucket: `s3://bucket/prefix`, `gs://…` or `az://…`. Credentials come from the
    environment, as AWS_ACCESS_KEY_ID."""
    endpoint: str | None = None
    """Of a server that is not the provider's own, as `http://localhost:7070`."""
    region: str | None = None

    @property
    def place(self) -> str:
        return self.url

    @field_validator("url")
    @classmethod
    def _of_a_bucket(cls, url: str) -> str:
        bucket_address.parse(url)
        return url

    @field_validator("endpoint")
    @classmethod
    def _of_a_server(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and not bucket_address.is_server(endpoint):
            raise ValueError('must be the address of a server, as "http://localhost:7070"')
        return endpoint


class SqlSettings(WatchedSettings):
    """Rows of a table, or of a query, of Postgres, MariaDB, MySQL or SQLite."""

    kind: Literal["sql"]
    changes: str | None = None
    """Subject of NATS on which Debezium tells of changed rows, such as
    `instep.sources.changed.NAME`."""
    url: SecretStr
    """`postgresql://user@host/database`, `mysql://…` or `sqlite:///file.db`; never shown."""
    password: SecretStr | None = None
    """In place of one in `url`; best set by INSTEP_SOURCES__NAME__PASSWORD."""
    table: str | None = None
    """A table or view; `schema.table` for one of another schema."""
    query: str | None = None
    """A SELECT, in place of a table."""
    key: Annotated[Names, Field(min_length=1)]
    """The columns that name a row; together they differ for any two rows."""
    body: Annotated[Names, Field(min_length=1)]
    """The columns with the text."""
    title: str | None = None
    metadata: Names = ()
    """Columns that search shows and filters by."""
    watermark: str | None = None
    """A column that gets a larger value whenever the row changes, as `updated_at`."""
    static_score: str | None = None
    is_active: str | None = None
    """A row whose column says false, or is NULL, is kept and not searchable."""
    body_type: str = "text/plain"
    """Media type of the text, as `text/markdown` or `text/html`."""

    @model_validator(mode="after")
    def _is_one_listing(self) -> "SqlSettings":
        if (self.table is None) == (self.query is None):
            raise ValueError('a source of rows needs a table or a query, as table = "articles"')
        if self.include or self.exclude or self.records is not None:
            raise ValueError("include, exclude and records are of files: choose rows by a query")
        if self.query is not None and (fault := fault_of_query(self.query)):
            raise ValueError(fault)
        try:
            sql_address.parse(self.url.get_secret_value())
        except ValueError as error:
            raise ValueError(f"url: {error}") from None
        return self

    @property
    def has_records(self) -> bool:
        return True

    @property
    def place(self) -> str:
        what = self.table or "query"
        return f"{sql_address.parse(self.url.get_secret_value()).shown}#{what}"


class WebSettings(WatchedSettings):
    """Pages of the web: those of a sitemap, or of a list of addresses."""

    kind: Literal["web"]
    url: str | None = None
    """Of a sitemap or an index of sitemaps, as `https://docs.example.org/sitemap.xml`."""
    urls: tuple[str, ...] = ()
    """Of pages, beside those of the sitemap."""
    urls_file: Path | None = None
    """File with the address of one page a line."""
    hosts: Names = ()
    """Hosts of pages, sitemaps and redirects, beside those of `url` and `urls`."""
    allow_private: Names = ()
    """Hosts, addresses and networks that may be asked though they are not public, as
    `10.0.0.0/8`."""
    user_agent: str | None = Field(default=None, pattern=r"^[\x20-\x7e]{1,200}$")
    """As which instep asks; None: its name and version."""
    delay: Seconds = 0.5
    """Between two requests to one host; a `Crawl-delay` of up to 30 s counts if it is longer."""
    rescan: Seconds = 3600.0
    """Interval of listings."""
    max_bytes: Bytes = 20 * 1024**2

    @property
    def place(self) -> str:
        first = self.url or (str(self.urls_file) if self.urls_file else self.urls[0])
        return web_address.normal(first) if web_address.is_web(first) else first

    @model_validator(mode="after")
    def _names_pages(self) -> "WebSettings":
        if not (self.url or self.urls or self.urls_file):
            raise ValueError("a source of the web needs a url of a sitemap, urls, or a urls_file")
        for url in (self.url, *self.urls):
            if url is not None:
                web_address.normal(url)
        for host in self.hosts:
            web_address.normal_host(host)
        return self


SOURCES: Final[Mapping[str, type[SourceSettings]]] = {
    "folder": FolderSettings,
    "bucket": BucketSettings,
    "sql": SqlSettings,
    "web": WebSettings,
    "push": PushSettings,
}
"""By `kind`."""


def _kind_of(value: Any) -> Any:
    return value.get("kind", "folder") if isinstance(value, dict) else getattr(value, "kind", None)


Source = Annotated[
    Annotated[FolderSettings, Tag("folder")]
    | Annotated[BucketSettings, Tag("bucket")]
    | Annotated[SqlSettings, Tag("sql")]
    | Annotated[WebSettings, Tag("web")]
    | Annotated[PushSettings, Tag("push")],
    Discriminator(_kind_of),
]


class Extraction(SettingsGroup):
    """Limits of the processes that read documents."""

    memory: Annotated[Bytes, Field(ge=128 * 1024**2)] = 512 * 1024**2
    """Most memory of such a process; a document that needs more is refused."""
    timeout: Annotated[Seconds, Field(ge=1)] = 30.0
    """Most processor time for one document; one that needs more is refused."""


class Embedding(SettingsGroup):
    model: str = "all-MiniLM-L6-v2"
    """The packaged model, `fake-DIMENSIONS`, `fake-DIMENSIONS-250ms` (its device takes so long a
    call), or a sentence-transformers folder or name."""
    backend: Literal["auto", "openvino", "sentence-transformers"] = "auto"
    """auto: openvino for the packaged model on a CPU, else sentence-transformers."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    numeric: Literal["f32", "int8"] = "f32"
    """Part of the fingerprint. int8 needs a CPU with avx512_vnni."""
    max_batch: int = Field(default=64, ge=1, le=4096)
    """Most texts of a device call."""
    max_tokens: int = Field(default=1024, ge=256)
    """Most padded tokens of a device call; a single longer text still goes."""
    threads: int = Field(default=0, ge=0, le=256)
    """Inference threads; 0: one per core."""
    timeout: Seconds = 120.0
    """Most seconds of one device call, after which the model is started again; 0: any."""
    languages: Names | None = None
    """ISO 639-1 codes of those that the model knows; None: English of the packaged model, any of
    others."""


class Bus(SettingsGroup):
    url: str | None = None
    """NATS server; None: the bundled one, in the data folder."""
    max_file: Bytes = 32 * 1024**3
    """Most disk that the bundled server may use."""
    drain: Seconds = 15.0
    """How long a stop waits for running handlers."""
    replicas: int = Field(default=1, ge=1, le=5)
    """Copies of every stream in a cluster; 1: as many as there are."""
    nkey: Path | None = None
    """File with the seed of this process's key, as `instep keys` writes it."""
    nkey_seed: SecretStr | None = None
    """The seed itself; goes before the file."""
    tls_ca: Path | None = None
    """Certificates that sign the server's; if given, instep connects with encryption only."""
    tls_cert: Path | None = None
    """Certificate of this process, where the server asks for one."""
    tls_key: Path | None = None
    """Key of that certificate, unless it is in the same file."""


class Weaviate(SettingsGroup):
    """A Weaviate server; used when `store.kind` is `weaviate`."""

    url: str = "http://127.0.0.1:8080"
    grpc: str | None = None
    """Host and port of its gRPC; None: the host of `url`, port 50051."""
    key_file: Path | None = None
    """File with one line, the key."""
    key: SecretStr | None = None
    """The key itself; goes before the file."""
    tls_ca: Path | None = None
    """Certificates that sign the server's, for an address that begins with https://."""
    prefix: str = "Instep"
    """First part of its collections' names; two installations on one server need two."""
    replicas: int = Field(default=1, ge=1, le=9)
    """Nodes that keep a row, of collections that are made from now on."""


class Pgvector(SettingsGroup):
    """A database of Postgres with pgvector; used when `store.kind` is `pgvector`."""

    url: SecretStr | None = None
    """`postgresql://user@host/database`, perhaps with `?sslmode=verify-full`; never shown."""
    password_file: Path | None = None
    """File with one line, the password."""
    password: SecretStr | None = None
    """The password itself; goes before the file, and before one in `url`."""
    prefix: str = Field(default="instep", pattern=PREFIX_PATTERN)
    """First part of its tables' names; two installations in one database need two."""

    @field_validator("url")
    @classmethod
    def _is_postgres(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            if not url.get_secret_value().startswith(("postgresql://", "postgres://")):
                raise ValueError("must begin with postgresql://")
            sql_address.parse(url.get_secret_value())
        return url


class Store(SettingsGroup):
    kind: Literal["auto", "sqlite", "lancedb", "weaviate", "pgvector", "memory"] = "auto"
    """`auto` is `lancedb` where the folder already holds such an index, else `sqlite`."""
    path: Path | None = None
    """Folder of the embedded store; default: inside the data folder."""
    weaviate: Weaviate = Weaviate()
    pgvector: Pgvector = Pgvector()


class RerankSettings(SettingsGroup):
    """A server that judges the best hits anew; used when `url` is given."""

    url: str | None = None
    """Where it reads a question and texts, as `http://127.0.0.1:8080/v1/rerank`. Texts of documents
    are sent there."""
    format: Literal["cohere", "tei"] = "cohere"
    """The interface that it speaks: that of Cohere, as most do, or of text-embeddings-inference."""
    model: str = ""
    """The model's name, where the server serves several."""
    key_file: Path | None = None
    """File with one line, the server's key."""
    key: SecretStr | None = None
    """The key itself; goes before the file."""
    budget: Annotated[Seconds, Field(gt=0, le=30)] = 0.3
    """An answer waits so long for it."""
    top: int = Field(default=20, ge=2, le=100)
    """Chunks that it judges, the best without it."""
    weight: float = Field(default=0.7, gt=0, le=1)
    """Share of a score that is its own."""

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        """Its place is logged, so nothing secret may be in it. No message repeats it."""
        if value is None:
            return None
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        try:
            place = urlsplit(value)
            is_place = bool(place.hostname) and place.port != 0
        except ValueError:
            is_place = False
        if not is_place:
            raise ValueError("must name a host, and maybe its port and a path")
        if "@" in place.netloc:
            raise ValueError("must have no user and no password; the server's key is key_file")
        if place.query or place.fragment:
            raise ValueError("must have no query and no fragment; the server's key is key_file")
        return value


class SearchSettings(SettingsGroup):
    mode: Literal["vector", "keyword", "hybrid"] = "hybrid"
    vector_weight: float = Field(default=0.6, ge=0)
    keyword_weight: float = Field(default=0.4, ge=0)
    static_weight: float = Field(default=0.0, ge=0)
    """Of the static score that sources give their documents."""
    recency_weight: float = Field(default=0.0, ge=0)
    recency_half_life: Annotated[Seconds, Field(gt=0)] = 90 * 86400.0
    """Age at which a document has half of the recency of one of now."""
    title_weight: float = Field(default=0.0, ge=0)
    """Of the share of a question's words that a title has."""
    phrase_weight: float = Field(default=0.05, ge=0)
    """Of a chunk that has the words of the question one after the other."""
    limit: int = Field(default=5, ge=1, le=200)
    rerank: RerankSettings = RerankSettings()

    @property
    def weights(self) -> dict[str, float]:
        """By the names that a request gives them."""
        return {
            "vector": self.vector_weight,
            "keyword": self.keyword_weight,
            "static": self.static_weight,
            "recency": self.recency_weight,
            "title": self.title_weight,
            "phrase": self.phrase_weight,
        }


class ValidationSettings(SettingsGroup):
    freshness_warn: Seconds = 60.0
    poll: Seconds = 30.0
    """Longest interval between two checks whether the store finds a revision."""
    timeout: Seconds = 3600.0
    batch_timeout: Annotated[Seconds, Field(ge=1)] = 3600.0
    """A batch without progress for so long is closed as incomplete."""
    queries: Path | None = None
    """JSON Lines of {"q": …, "expect": "source/path"}."""
    sample: int = Field(default=20, ge=0)
    """Documents of a batch that the validator searches for by their own vectors; of many batches
    five a second at most, after the first 200."""


class SweepSettings(SettingsGroup):
    every: Seconds = 1800.0
    """Interval between two comparisons of files, ledger and store; 0: only when asked."""


class Oidc(SettingsGroup):
    """Tokens of an OpenID Connect issuer, as a second way into the gateway."""

    issuer: str | None = Field(default=None, max_length=2_048)
    """As it stands in the tokens' `iss`, `https://login.example.org/realms/main`; None: no tokens
    are accepted."""
    audience: str | None = None
    """Of which tokens must be, by their `aud`."""
    scopes_claim: str = "scope"
    """Claim that has the scopes: a list, or one text with blanks between them."""
    scope_prefix: str = "instep:"
    """What stands before the name of a scope in that claim; may be empty."""
    sources_claim: str | None = None
    """Claim that has the names of sources, in the same forms; `*` is all. A token without it sees
    no source. None: every token sees all."""

    @model_validator(mode="after")
    def _is_whole(self) -> "Oidc":
        if self.issuer is not None and not self.audience:
            raise ValueError("an issuer needs an audience: tokens for other systems would do")
        if self.audience is not None and self.issuer is None:
            raise ValueError("an audience needs an issuer")
        if self.issuer is not None:
            self._check_address(self.issuer)
        return self

    @staticmethod
    def _check_address(issuer: str) -> None:
        if "?" in issuer or "#" in issuer:
            raise ValueError("issuer: an address without a query")
        try:
            web_address.check_secure(issuer)
        except ValueError as error:
            raise ValueError(f"issuer: {error}") from None


class Gateway(SettingsGroup):
    host: str = "127.0.0.1"
    port: int = Field(default=8765, ge=0, le=65535)
    """If it is taken, the gateway uses the next free port and says so. 0: any."""
    key_file: Path | None = None
    """File with one line, the owner's key; needed unless `host` is this machine's own, where the
    default is `gateway.key` in the data folder, which instep makes."""
    auth: Literal["keys", "none"] = "keys"
    """none: every request counts as the owner's; only where `host` is this machine's own."""
    oidc: Oidc = Oidc()


class Webhook(SettingsGroup):
    """An address that outcomes are sent to."""

    url: SecretStr = Field(max_length=2_048)
    """It takes them by POST. Encrypted, unless it is of this machine. Many hold a token."""
    secret_file: Path | None = None
    """File with one line, the secret that signs what is sent."""
    secret: SecretStr | None = None
    """The secret itself; goes before the file."""
    types: Annotated[
        tuple[Literal["document", "batch", "validation"], ...], BeforeValidator(_split)
    ] = Field(default=(), max_length=3)
    """Types of events that are sent; none: all."""
    sources: Annotated[
        tuple[Annotated[str, Field(pattern=SOURCE_PATTERN)], ...], BeforeValidator(_split)
    ] = Field(default=(), max_length=1_000)
    """Sources whose events are sent; none: all."""

    @model_validator(mode="after")
    def _is_signed_and_secure(self) -> "Webhook":
        if self.secret is None and self.secret_file is None:
            raise ValueError("a webhook needs a secret or a secret_file, which sign what is sent")
        try:
            web_address.check_secure(self.url.get_secret_value())
        except ValueError as error:
            raise ValueError(f"url: {error}") from None
        return self


class Telemetry(SettingsGroup):
    log: Literal["auto", "text", "json"] = "auto"
    level: Literal["auto", "debug", "info", "warning", "error"] = "auto"
    """auto: info for `instep run`, warning for all else."""


class Health(SettingsGroup):
    """The address at which a process answers /livez, /readyz and /metrics."""

    host: str = "127.0.0.1"
    port: int | None = Field(default=None, ge=0, le=65535)
    """0: any free one, which the log names. None: the same for `instep run`, else no port."""


class Settings(SettingsGroup):
    """All settings. `INSTEP_EMBEDDING__MAX_BATCH=32` sets `embedding.max_batch`."""

    sources: dict[Annotated[str, Field(pattern=SOURCE_PATTERN)], Source] = {}
    extraction: Extraction = Extraction()
    chunking: Chunking = Chunking()
    embedding: Embedding = Embedding()
    bus: Bus = Bus()
    store: Store = Store()
    search: SearchSettings = SearchSettings()
    validation: ValidationSettings = ValidationSettings()
    sweep: SweepSettings = SweepSettings()
    gateway: Gateway = Gateway()
    webhooks: dict[Annotated[str, Field(pattern=SOURCE_PATTERN)], Webhook] = Field(
        default={}, max_length=20
    )
    telemetry: Telemetry = Telemetry()
    health: Health = Health()

    @model_validator(mode="after")
    def _fields_agree(self) -> "Settings":
        first: dict[str, str] = {}
        for source, one in self.sources.items():
            for name, kind in one.fields.items():
                other = first.setdefault(name, source)
                if (known := self.sources[other].fields[name]) != kind:
                    raise ValueError(
                        f"the field {name} is a {kind} in sources.{source} and a {known} in "
                        f"sources.{other}: it needs one kind in all"
                    )
        return self

    @property
    def fields(self) -> dict[str, FieldKind]:
        """The declared fields of all sources, by name."""
        return {name: kind for one in self.sources.values() for name, kind in one.fields.items()}

    @property
    def watched(self) -> dict[str, WatchedSettings]:
        """The sources that a process watches, by name."""
        watched = self.sources.items()
        return {name: one for name, one in watched if isinstance(one, WatchedSettings)}
