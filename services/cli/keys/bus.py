"""`instep keys`: one key for each service, and a server's configuration that knows them."""

import os
import secrets
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from services.cli import exits
from services.cli.exits import Stop
from services.cli.suggest import check_name
from services.cli.terminal import print_json
from services.host.options import Options

SUFFIX: Final = ".nk"
SECRET: Final = 0o600
PUBLIC: Final = 0o644
ROUTE_KEY: Final = "cluster.key"
GATEWAY_KEY: Final = "gateway.key"
WEAVIATE_KEY: Final = "weaviate.key"
WEAVIATE_ENV: Final = "weaviate.env"
WEAVIATE_USER: Final = "instep"


@dataclass(slots=True)
class KeyFolder:
    """The folder of the keys. Files in it stay, unless `force` is set.

    Args:
        force: make every secret anew.
        owner: user id of the files' owner; None: the user of this process.
    """

    path: Path
    force: bool
    owner: int | None
    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Steps that remain for the person."""

    def secret(self, name: str, text: str) -> str:
        """The text of the file; if there is none, this text is written."""
        path = self.path / name
        if path.exists() and not self.force:
            self.kept.append(name)
            if self.owner is not None:  # a link's own owner: anyone may have planted it
                os.chown(path, self.owner, -1, follow_symlinks=False)
            return path.read_text(encoding="ascii").strip()
        self.made.append(name)
        self._write(path, text + "\n", SECRET)
        return text

    def there(self, name: str) -> str:
        """The text of the file; empty when there is none."""
        path = self.path / name
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def derived(self, name: str, text: str, mode: int = PUBLIC) -> None:
        """Written at every run."""
        path = self.path / name
        same = path.exists() and self.there(name) == text
        (self.kept if same else self.made).append(name)
        self._write(path, text, mode)

    def _write(self, path: Path, text: str, mode: int) -> None:
        """Write the whole file or nothing; other users can never read it in between."""
        beside = path.with_name(f".{path.name}.new")
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
            if self.owner is not None:
                os.fchown(file.fileno(), self.owner, -1)
        beside.replace(path)


def run(args: Namespace, options: Options) -> int:
    """Make missing keys; write the configuration anew."""
    folder = KeyFolder(Path(args.folder), args.force, args.owner)
    try:
        folder.path.mkdir(mode=0o755, parents=True, exist_ok=True)
        generations = write(folder, args, options)
    except PermissionError as error:
        fix = "run it as root" if error.filename is None or args.owner is not None else ""
        raise Stop(f"{error.filename or folder.path}: {error.strerror}", fix=fix) from None
    except OSError as error:
        raise Stop(f"{error.filename or folder.path}: {error.strerror}") from None
    if options.json:
        names = {"made": folder.made, "kept": folder.kept, "notes": folder.notes}
        print_json({"folder": str(folder.path), "generations": list(generations), **names})
    else:
        print("\n".join(lines(folder)))
    return exits.DONE


def write(folder: KeyFolder, args: Namespace, options: Options) -> tuple[str, ...]:
    """Write everything; the generations that the services may work on."""
    from services.host.startup import wanted_generation
    from shared.bus.admin import server

    settings = options.settings()
    auth = folder.there(server.AUTH_FILE)
    known = server.generations_of(auth)
    one_account = server.has_one_account(auth)
    before = server.DEFAULT_ACCOUNT if one_account else server.account_before(auth)
    wanted = wanted_generation(settings).id
    # the live generation stays when a setting changes: its services need access
    generations = tuple(dict.fromkeys([*(() if args.force else known), wanted]))
    public = keys(folder, args.source)
    buckets = passwords(folder, args.bucket)
    written = server.accounts(public, generations, before=before, buckets=buckets)
    folder.derived(server.AUTH_FILE, written)
    folder.notes += left_to_do(auth, written)
    place = server.Place(
        folder=str(folder.path.absolute()),
        store=args.store,
        listen=args.listen,
        http=args.http,
        max_file_bytes=settings.bus.max_file,
    )
    folder.derived(server.SERVER_FILE, server.server(place, folder.there(server.SERVER_FILE)))
    password = folder.secret(ROUTE_KEY, secrets.token_urlsafe(32))
    hosts = args.cluster.split(",")
    cluster = server.cluster(place, hosts, password, folder.there(server.CLUSTER_FILE))
    folder.derived(server.CLUSTER_FILE, cluster, SECRET)
    folder.secret(GATEWAY_KEY, secrets.token_urlsafe(32))
    key = folder.secret(WEAVIATE_KEY, secrets.token_urlsafe(32))
    folder.derived(WEAVIATE_ENV, weaviate_env(key), SECRET)
    return generations


def left_to_do(auth: str, written: str) -> list[str]:
    """The changes that a reload of the server leaves out. Pure.

    Args:
        auth: the `auth.conf` that was there; empty: none.
        written: the one that replaced it.
    """
    from shared.bus.admin import server

    if server.has_one_account(auth):
        how = server.how_to_move(server.DEFAULT_ACCOUNT)
        return [
            f"the services have an account of their own now; unless Compose runs the server, {how}"
        ]
    new = server.publishers_of(written) - server.publishers_of(auth)
    if not auth or not new:
        return []
    names = ", ".join(sorted(new))
    return [f"restart the server for {names}: a reload leaves new accounts out"]


def keys(folder: KeyFolder, sources: Iterable[str]) -> dict[str, str]:
    """Public keys by identity; the seeds are in the folder, and nowhere else."""
    import nkeys

    from shared.bus.access.permissions import IDENTITIES, PUBLISHER

    there = [path.stem for path in sorted(folder.path.glob(f"{PUBLISHER}-*{SUFFIX}"))]
    names = dict.fromkeys([*IDENTITIES, *there, *(f"{PUBLISHER}-{s}" for s in _checked(sources))])
    public: dict[str, str] = {}
    for name in names:
        fresh: bytes = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
        seed = folder.secret(name + SUFFIX, fresh.decode())
        try:
            public[name] = nkeys.from_seed(bytearray(seed.encode())).public_key.decode()
        except (nkeys.NkeysError, ValueError):
            raise Stop(f"{folder.path / name}{SUFFIX}: not the seed of an nkey") from None
    return public


def passwords(folder: KeyFolder, sources: Iterable[str]) -> list[str]:
    """Make a password for the storage server of each source; the sources, also of earlier runs."""
    from shared.bus.admin import server

    before = f"{server.STORAGE}-"
    there = [path.stem.removeprefix(before) for path in sorted(folder.path.glob(f"{before}*.key"))]
    names = list(dict.fromkeys([*there, *_checked(sources)]))
    for name in names:
        secret = folder.secret(f"{server.storage(name)}.key", secrets.token_urlsafe(32))
        folder.derived(f"{server.storage(name)}.conf", server.password(secret), SECRET)
    return names


def weaviate_env(key: str) -> str:
    """Environment of a Weaviate server that accepts this key only."""
    values: Mapping[str, Any] = {
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
        "AUTHENTICATION_APIKEY_ENABLED": "true",
        "AUTHENTICATION_APIKEY_ALLOWED_KEYS": key,
        "AUTHENTICATION_APIKEY_USERS": WEAVIATE_USER,
        "AUTHORIZATION_RBAC_ENABLED": "true",
        "AUTHORIZATION_RBAC_ROOT_USERS": WEAVIATE_USER,
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def lines(folder: KeyFolder) -> list[str]:
    """The files that were written, without any secret. Pure."""
    told = [f"wrote {folder.path / name}" for name in folder.made]
    if folder.kept:
        told.append(f"kept {len(folder.kept)} files: {', '.join(folder.kept)}")
    return [*told, *folder.notes]


def _checked(sources: Iterable[str]) -> list[str]:
    names = list(sources)
    for name in names:
        check_name(name)
    return names
