"""A bucket of object storage as a source of documents: its listing, and the content of one object.

Blocking calls, to be made in a thread. A bucket that cannot be listed is an error of the source and
never looks like an empty one. The version of an object is its ETag, size and time together; its
version number is not asked for, because listings of S3 do not have it.
"""

import contextlib
import hashlib
import os
import re
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from services.producer.sources.port import (
    Body,
    Heard,
    Looked,
    Scan,
    SourceUnavailable,
    Unreadable,
    Unsettled,
    Version,
    looked_one_by_one,
)
from services.producer.sources.rules import LeftOut, Rules, is_ignored
from shared.domain.addresses import bucket_address
from shared.domain.errors import ConfigurationError, DocumentRefused
from shared.domain.formats import most_common
from shared.domain.ids import check_path, content_hash
from shared.ports import Selection

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_Answer = TypeVar("_Answer")
Meta = Mapping[str, Any]
"""What obstore tells of an object: path, size, e_tag, last_modified."""
TRIED: Final = 100
"""Blocked objects that are asked for at once."""
CONNECT_TIMEOUT: Final = timedelta(seconds=5)
TIMEOUT: Final = timedelta(seconds=60)
"""Of one request, with its answer."""
RETRIES: Final = 5
RETRY_FOR: Final = timedelta(seconds=30)
"""A server that asks for fewer requests gets this long."""
_WHERE: Final = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""Variables of the environment that hold the credentials."""
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_NONE_FOUND: Final = "no credentials were found: set {where}"
_NOT_KNOWN: Final = "the access key is not known: check {where}"
_EXPIRED: Final = "the credentials have expired: get new ones, and start instep anew"
_DENIED: Final = "access is denied: grant listing and reading, or check {where}"
_NO_BUCKET: Final = "there is no such bucket"
_NOT_HERE: Final = "the server has no bucket here: check the endpoint"
_ELSEWHERE: Final = "the bucket is in another region: set `region` of the source, or AWS_REGION"
_FEWER: Final = "the server asks for fewer requests"
_CLOCK: Final = "the clock of this machine is wrong"
_CODES: Final = {
    "NoSuchBucket": _NO_BUCKET,
    "ContainerNotFound": _NO_BUCKET,
    "ResourceNotFound": _NOT_HERE,
    "InvalidBucketName": "no bucket can have this name",
    "InvalidAccessKeyId": _NOT_KNOWN,
    "XAdminUserNotFound": _NOT_KNOWN,
    "SignatureDoesNotMatch": "the secret key is wrong: check {where}",
    "AuthenticationFailed": "the secret key is wrong: check {where}",
    "InvalidToken": _EXPIRED,
    "ExpiredToken": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "AccessDenied": _DENIED,
    "AuthorizationFailure": _DENIED,
    "AuthorizationPermissionMismatch": _DENIED,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "PermanentRedirect": _ELSEWHERE,
    "SlowDown": _FEWER,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "InvalidObjectState": "the object is archived: restore it first",
}
"""Codes of answers of S3, Google and Azure, in words for people."""
_CODE: Final = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_WORDS: Final = (
    ("169.254.169.254", _NONE_FOUND),
    ("metadata.google.internal", _NONE_FOUND),
    ("/metadata/identity", _NONE_FOUND),
    ("Missing", _NONE_FOUND),
    ("Account must be specified", _NONE_FOUND),
    ("without moving past its header", _NOT_HERE),
    ("401 Unauthorized", "the credentials are not accepted: check {where}"),
    ("403 Forbidden", _DENIED),
    ("404 Not Found", _NO_BUCKET),
    ("400 Bad Request", "the server refuses the request"),
    ("redirect without LOCATION", _ELSEWHERE),
    ("429 ", _FEWER),
    ("503 ", "the server is busy"),
    ("500 Internal", "the server has a fault"),
    ("error sending request", "the server does not answer"),
    ("builder error", "the address of the server is not https: set the endpoint"),
)
"""Parts of errors without a code; the first that fits counts. The texts of the library hold
addresses and whole answers."""

_ODD_KEY: Final = "a key has an empty part, '.', '..' or a control character; rename that object"


class BucketSource:
    """The documents below one prefix. Paths are the keys below it, in NFC.

    Implements `services.producer.sources.port.DocumentSource`.

    Args:
        store: scoped to bucket and prefix.
        url: for people, as `s3://bucket/prefix`; without secrets.
    """

    def __init__(self, store: "ObjectStore", url: str, rules: Rules, *, max_bytes: int) -> None:
        self._url = url.rstrip("/")
        self.rules = rules
        self.max_bytes = max_bytes
        self._scheme = bucket_address.parse(url).scheme
        self._store = store
        self._keys: dict[str, str] = {}
        """Keys that are not in NFC, by their path."""

    @property
    def place(self) -> str:
        return self._url

    def identity(self) -> tuple[int, int]:
        """The address as a number: a bucket has no other identity."""
        return int.from_bytes(hashlib.sha256(self._url.encode()).digest()[:6]), 0

    def scan(self) -> Scan:
        """A key that the library does not take (with an empty part, or a control character) ends
        its listing. The bucket is then listed folder by folder, and only the folder of that key is
        not known."""
        import obstore
        from obstore.exceptions import InvalidPathError

        result = Scan()
        try:
            for page in obstore.list(self._store):
                self._take(page, result)
        except InvalidPathError:
            return self._scan_folders()
        except Exception as error:  # noqa: BLE001 - of the network, the server, the credentials
            raise self._unavailable(error) from None
        return result

    def look(self, path: str) -> Version | None:
        """The version of the object, or None when no document has this path now.

        Raises:
            Unreadable: it is there and cannot be asked for.
            SourceUnavailable: the bucket is missing, so nothing is known about the object.
        """
        if self.rules.why_not(path):
            return None
        import obstore

        meta = self._asked(path, lambda key: obstore.head(self._store, key))
        return None if meta is None else version_of(meta)

    def look_at(self, known: Collection[str], paths: Collection[str]) -> Looked:
        return looked_one_by_one(self.identity(), self.look, known, paths)

    def read(self, path: str, *, growing: bool = False) -> Body | None:  # noqa: ARG002
        """The server answers with one version, whatever happens meanwhile."""
        if self.rules.why_not(path):
            return None
        return self._asked(path, lambda key: self._read(path, key))

    def opened(self, blocked: Collection[str]) -> tuple[bool, bool]:
        return any(map(self._opens, sorted(blocked)[:TRIED])), False

    def unwanted(self, paths: Collection[str]) -> dict[str, LeftOut]:
        return {path: why for path in paths if (why := self.rules.why_not(path))}

    def explain(self, path: str) -> Selection:
        import obstore

        try:
            path = check_path(path) if path else ""
            found = self._scan_folders(path) if path else self.scan()
        except DocumentRefused:
            return Selection(exists=False)
        counts, some = most_common(found.left_out), found.reasons
        if not path or found.files or found.closed or counts:
            if why := self.rules.why_not_below(path):
                return Selection(exists=True, is_folder=True, why=why.why)
            return Selection(exists=True, is_folder=True, counts=counts, some=some)
        is_there = self._asked(path, lambda key: obstore.head(self._store, key)) is not None
        rule = self.rules.why_not(path)
        if not is_there or rule is None:
            return Selection(exists=is_there)
        return Selection(exists=True, why=rule.why, fix=rule.fix)

    def meaning(self, names: Collection[str]) -> Heard:
        """Names are keys below the prefix."""
        paths = dict[str, Version | None]()
        for key in names:
            with contextlib.suppress(DocumentRefused):
                path = check_path(key)
                if not any(map(is_ignored, path.split("/"))):
                    paths[path] = None
                    if path != key:
                        self._keys.setdefault(path, key)
        return Heard(paths)

    # -- inside ------------------------------------------------------------------------------------

    def _opens(self, path: str) -> bool:
        """Whether an object or folder can be read by now; one that is gone counts as readable."""
        try:
            if self.rules.why_not(path) is None:
                self.look(path)
                return True
            return not self._scan_folders(path).closed
        except (Unreadable, SourceUnavailable):
            return False

    def _scan_folders(self, below: str = "") -> Scan:
        import obstore
        from obstore.exceptions import InvalidPathError

        result, waiting = Scan(), deque([below])
        while waiting:
            folder = waiting.popleft()
            try:
                found = obstore.list_with_delimiter(self._store, prefix=folder or None)
            except InvalidPathError:
                if not folder:
                    raise SourceUnavailable(f"{self._url}: {_ODD_KEY}") from None
                result.closed.add(folder)
                result.problems[folder] = f"cannot be listed: {_ODD_KEY}"
                continue
            except Exception as error:  # noqa: BLE001 - as in `scan`
                raise self._unavailable(error) from None
            self._take(found["objects"], result)
            waiting.extend(found["common_prefixes"])
        return result

    def _take(self, objects: Iterable[Meta], result: Scan) -> None:
        for meta in objects:
            key = str(meta["path"])
            try:
                path = check_path(key)
            except DocumentRefused as refusal:
                result.problems[key] = str(refusal)
                continue
            if why := self.rules.why_not(path):
                result.leave_out(path, why)
                continue
            if path in result.files:
                result.problems[path] = "two keys have this name in different Unicode forms"
                if self._key(path) != min((self._key(path), key), key=lambda k: (k != path, k)):
                    self._remember(path, key)
                    result.files[path] = version_of(meta)
                continue
            self._remember(path, key)
            result.files[path] = version_of(meta)

    def _key(self, path: str) -> str:
        return self._keys.get(path, path)

    def _remember(self, path: str, key: str) -> None:
        if key != path:
            self._keys[path] = key
        else:
            self._keys.pop(path, None)

    def _asked(self, path: str, ask: Callable[[str], _Answer]) -> _Answer | None:
        from obstore.exceptions import NotFoundError, PermissionDeniedError

        try:
            return ask(self._key(path))
        except (NotFoundError, FileNotFoundError):
            self._check()
            return None
        except Unsettled:
            raise
        except Exception as error:  # noqa: BLE001 - of the network, the server, the credentials
            if not isinstance(error, PermissionDeniedError) and " 400 " not in str(error):
                raise self._unavailable(error) from None
            self._check()  # an answer about one object does not tell whether it is about all
            raise Unreadable(f"{path}: {in_words(error, self._scheme)}") from None

    def _check(self) -> None:
        """An object of a bucket that is gone is not found either, and must not count as deleted.

        Raises:
            SourceUnavailable: the bucket cannot be listed.
        """
        import obstore

        try:
            next(iter(obstore.list(self._store, chunk_size=1)), None)
        except Exception as error:  # noqa: BLE001 - as in `scan`
            raise self._unavailable(error) from None

    def _read(self, path: str, key: str) -> Body | None:
        import obstore

        read_at_ns = time.time_ns()
        answer = obstore.get(self._store, key)
        version, url = version_of(answer.meta), f"{self._url}/{path}"
        if version.size > self.max_bytes:
            instead = hashlib.sha256(f"{version}".encode()).hexdigest()
            return Body(version, read_at_ns, instead, None, url)
        data = bytes(answer.bytes())
        if len(data) != version.size:
            raise Unsettled(f"{path}: changed while it was read")
        return Body(version, read_at_ns, content_hash(data), data, url)

    def _unavailable(self, error: Exception) -> SourceUnavailable:
        return SourceUnavailable(f"{self._url}: {in_words(error, self._scheme)}")


def version_of(meta: Meta) -> Version:
    """What tells two states of an object apart. The ETag alone stays the same when it is moved.

    Some listings tell the time in milliseconds, and no answer about a single object does.
    """
    etag = str(meta.get("e_tag") or "").strip('"')  # some listings have it without quotes
    at_ns = int(meta["last_modified"].timestamp()) * 10**9
    mark = int.from_bytes(hashlib.sha256(etag.encode()).digest()[:6])
    return Version(int(meta["size"]), 0 if etag else at_ns, at_ns, mark)


def in_words(error: BaseException, scheme: str, otherwise: str = "") -> str:
    """The error for people, without the address and the answer of the server.

    Args:
        otherwise: the words for an error that is not known; empty: its type.
    """
    text = str(error)
    if code := _CODE.search(text):
        words = _CODES.get(code[1], f"the server refuses: {code[1]}")
    else:
        words = next((words for part, words in _WORDS if part in text), otherwise)
    return words.format(where=_WHERE[scheme]) or type(error).__name__


def open_bucket(
    url: str, rules: Rules, *, max_bytes: int, endpoint: str | None, region: str | None
) -> BucketSource:
    """The bucket at `s3://…`, `gs://…` or `az://…`; credentials come from the environment.

    Args:
        endpoint: address of a server that is not the provider's own.
        region: of a bucket of S3.

    Raises:
        ConfigurationError: obstore is not installed, an address is none, or credentials are
            missing or cannot be read.
    """
    try:
        from obstore.store import from_url
    except ImportError:
        raise ConfigurationError(
            "a bucket needs the client of object storage. Fix: pip install 'instep[s3]'"
        ) from None
    scheme = bucket_address.parse(url).scheme
    make: Any = from_url
    options = _client_options(scheme, endpoint)
    try:
        store = make(
            url,
            client_options=options,
            retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_FOR},
            **_given(scheme, endpoint, region),
        )
    except Exception as error:  # noqa: BLE001 - the library raises its own and ValueError
        words = in_words(error, scheme, otherwise="the credentials cannot be used: check {where}")
        raise ConfigurationError(f"{url}: {words}") from None
    return BucketSource(store, url, rules, max_bytes=max_bytes)


def _client_options(scheme: str, endpoint: str | None) -> dict[str, Any]:
    """
    Raises:
        ConfigurationError: the environment names a server by what is no address; the library
            would end the process.
    """
    named = [os.environ[name] for name in _ENDPOINTS if scheme == "s3" and os.environ.get(name)]
    for address in named:
        if not bucket_address.is_server(address):
            variables = ", ".join(_ENDPOINTS)
            raise ConfigurationError(
                f'no address of a server in {variables}: as "http://localhost:7070"'
            )
    server = endpoint or next(iter(named), "")
    options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT, "timeout": TIMEOUT}
    return options | ({"allow_http": True} if server.startswith("http://") else {})


def _given(scheme: str, endpoint: str | None, region: str | None) -> dict[str, Any]:
    """An emulator of Google's storage, on http, asks for no credentials."""
    if scheme == "s3":
        given: dict[str, Any] = {"endpoint": endpoint, "region": region}
    elif scheme == "gs":
        given = {"base_url": endpoint, "skip_signature": (endpoint or "").startswith("http://")}
    else:
        given = {"endpoint": endpoint}
    return {name: value for name, value in given.items() if value}
