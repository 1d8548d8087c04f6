"""The configuration of an operator's NATS server, as `instep keys` writes it. Pure."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from shared.bus.access.permissions import (
    ADMIN,
    PUBLISHER,
    Permissions,
    inbox_of,
    permissions,
    source_of,
)
from shared.domain.services import changes_of
from shared.domain.topology import MAX_MESSAGE_BYTES, MB

AUTH_FILE: Final = "auth.conf"
SERVER_FILE: Final = "nats.conf"
CLUSTER_FILE: Final = "nats-cluster.conf"
ROUTES: Final = "0.0.0.0:6222"
MAX_MEMORY_BYTES: Final = 64 * MB
GENERATIONS: Final = "# generations:"
ACCOUNT: Final = "INSTEP"
"""Of the services. Its streams lie below this name in the server's store."""
DEFAULT_ACCOUNT: Final = "$G"
"""Of users that are in no account, as those of older versions were."""
BEFORE: Final = "# streams before:"
MARK: Final = "instep.streams.before"
"""The admin may not publish to this subject with the account of an older version at its end: of its
configuration, a server shows its clients only their permissions."""
STORAGE: Final = "bucket"
ENCRYPTION: Final = "# Encryption:"


def accounts(
    public: Mapping[str, str],
    generations: Sequence[str],
    *,
    before: str | None = None,
    buckets: Sequence[str] = (),
) -> str:
    """The accounts and permissions: `auth.conf`.

    The services share one account. The server publishes its answers to any subject that a client
    names, without checking permissions, so each publisher has an account of its own: answers to it
    stay there.

    Args:
        public: public nkeys by identity.
        generations: ids of the generations that the services work on.
        before: account that an older version kept the streams in, if there was one.
        buckets: sources whose storage servers publish events. Such servers know passwords only;
            each is in a file of its own beside this one.
    """
    publishers = {name: key for name, key in public.items() if source_of(name) is not None}
    may = {
        name: permissions(name, generations, publishers=publishers)
        for name in public
        if name not in publishers
    }
    if before:
        may[ADMIN] = replace(may[ADMIN], not_publish=(f"{MARK}.{before}",))
    services = [_user(name, public[name], allowed) for name, allowed in may.items()]
    return "\n".join(
        [
            "# Written by `instep keys`: accounts and permissions. Only public keys, no secrets.",
            f"{GENERATIONS} {' '.join(generations)}",
            *([f"{BEFORE} {before}"] if before else []),
            "accounts {",
            f"  {ACCOUNT} {{",
            "    jetstream: enabled",
            *_block("users", services),
            *_block("exports", [*_exports_to(publishers), *map(_export_of_events, buckets)]),
            "  }",
            *(line for name, key in publishers.items() for line in _publisher(name, key)),
            *(line for source in buckets for line in _storage(source)),
            "}",
            "",
        ]
    )


def account_before(auth: str) -> str | None:
    """The account that an older version kept the streams in, as an `auth.conf` notes it. Pure."""
    found = re.search(rf"^{BEFORE} *(\S+)", auth, re.MULTILINE)
    return found[1] if found else None


def has_one_account(auth: str) -> bool:
    """Whether an older version wrote this `auth.conf`, with publishers beside services. Pure."""
    return re.search(r"^authorization \{", auth, re.MULTILINE) is not None


def publishers_of(auth: str) -> frozenset[str]:
    """Publishers and storage servers that an `auth.conf` gives an account. Pure."""
    return frozenset(re.findall(rf'^  "((?:{PUBLISHER}|{STORAGE})[^"]*)" {{', auth, re.MULTILINE))


def password(secret: str) -> str:
    """The part of the configuration that only the server may read: a storage server's password."""
    return f"password: {json.dumps(secret)}\n"


def how_to_move(before: str) -> str:
    """The steps to keep the streams of an older version. Pure."""
    return (
        f"stop the server, rename the folder jetstream/{before} below its store_dir to "
        f"jetstream/{ACCOUNT}, and start it again (a cluster needs a backup instead: see Security "
        "in the manual)"
    )


def generations_of(auth: str) -> tuple[str, ...]:
    """The generations that an `auth.conf` was written for."""
    found = re.search(rf"^{GENERATIONS}(.*)$", auth, re.MULTILINE)
    return tuple(found[1].split()) if found else ()


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a server.

    folder: where its configuration lies, as it sees it; `store`: where it keeps its data.
    listen: address and port for clients; `http`: for monitoring.
    """

    folder: str
    store: str
    listen: str
    http: str
    max_file_bytes: int


def server(place: Place, before: str = "") -> str:
    """`nats.conf`: one server.

    Args:
        before: the file that is there, of which the operator's lines about encryption stay.
    """
    return _server(place, 'server_name: "instep"') + _encryption(place, before)


def cluster(place: Place, hosts: Sequence[str], password: str, before: str = "") -> str:
    """`nats-cluster.conf`: each of several servers, with `--name` on its command line.

    Args:
        hosts: their names, for each other.
        password: for each other; it allows reading and writing everything.
        before: as for `server`.
    """
    routes = "\n".join(f"    {json.dumps(_route(host, password))}" for host in hosts)
    one = _server(
        place,
        f"""cluster {{
  name: "instep"
  listen: {json.dumps(ROUTES)}
  authorization {{ user: "route", password: {json.dumps(password)} }}
  routes: [
{routes}
  ]
}}""",
    )
    return one + _encryption(place, before)


def _route(host: str, password: str) -> str:
    return f"nats://route:{password}@{host}:{ROUTES.rpartition(':')[2]}"


def _server(place: Place, itself: str) -> str:
    quoted = json.dumps
    return f"""# Written by `instep keys`, and again by its next run.
# Your lines at its end, below the word Encryption, stay. For other settings of your own take
# another file, and have it include {AUTH_FILE}.
{itself}
listen: {quoted(place.listen)}
http: {quoted(place.http)} # monitoring, open to every client: keep it inside your network
max_payload: {MAX_MESSAGE_BYTES}
jetstream {{
  store_dir: {quoted(place.store)}
  sync_interval: always # an acknowledged message is on the disk
  max_file: {place.max_file_bytes}
  max_mem: {MAX_MEMORY_BYTES}
}}
feature_flags {{ js_ack_fc_v2: false }}
include {quoted("./" + AUTH_FILE)}

"""


def _encryption(place: Place, before: str) -> str:
    """The end of the file: the operator's lines, if any is in force."""
    kept = before.partition(ENCRYPTION)[2].partition("\n")[2]
    if any(line.strip() and not line.lstrip().startswith("#") for line in kept.splitlines()):
        return f"{ENCRYPTION} the lines below stay at the next run of `instep keys`.\n{kept}"
    quoted = json.dumps
    return f"""{ENCRYPTION} put a certificate and its key here and uncomment three lines; they stay.
#tls {{ cert_file: {quoted(place.folder + "/server.pem")}
#      key_file: {quoted(place.folder + "/server.key")}
#      timeout: 5 }}
"""


def _exports_to(publishers: Iterable[str]) -> list[str]:
    return [line for name in publishers for line in _exports(name)]


def _exports(publisher: str) -> list[str]:
    """The subjects that the services' account exports to one publisher's account."""
    only = f"accounts: [{json.dumps(publisher)}]"
    return [
        f"      {{ {kind}: {json.dumps(subject)}, {only} }}"
        for kind, subject in _shared(publisher).items()
    ]


def _publisher(name: str, key: str) -> list[str]:
    """The account of one publisher: submissions go out of it, receipts come in."""
    imports = [
        f"      {{ {kind}: {{ account: {ACCOUNT}, subject: {json.dumps(subject)} }} }}"
        for kind, subject in _shared(name).items()
    ]
    return [
        f"  {json.dumps(name)} {{",
        *_block("users", [_user(name, key, permissions(name, ()))]),
        *_block("imports", imports),
        "  }",
    ]


def storage(source: str) -> str:
    """Account and user of the storage server of a source, and the stem of its files."""
    return f"{STORAGE}-{source}"


def _export_of_events(source: str) -> str:
    only = f"accounts: [{json.dumps(storage(source))}]"
    return f"      {{ service: {json.dumps(changes_of(source))}, {only} }}"


def _storage(source: str) -> list[str]:
    """The account of a storage server: its events go out of it, and nothing comes in."""
    name, subject = json.dumps(storage(source)), json.dumps(changes_of(source))
    user = f"""      {{
        user: {name}
        include {json.dumps(f"./{storage(source)}.conf")}
        permissions: {{
          publish: {{ allow: [{subject}] }}
          subscribe: {{ deny: [">"] }}
        }}
      }}"""
    imports = [f"      {{ service: {{ account: {ACCOUNT}, subject: {subject} }} }}"]
    return [f"  {name} {{", *_block("users", [user]), *_block("imports", imports), "  }"]


def _shared(publisher: str) -> dict[str, str]:
    """Subjects that cross the border between a publisher and the services, by kind."""
    return {
        "service": f"documents.submitted.{source_of(publisher)}",
        "stream": f"{inbox_of(publisher)}.>",
    }


def _block(name: str, lines: Sequence[str]) -> list[str]:
    return [f"    {name}: [", *lines, "    ]"]


def _user(name: str, key: str, may: Permissions) -> str:
    publish = f"allow: {_list(may.publish)}"
    if may.not_publish:
        publish += f"\n            deny: {_list(may.not_publish)}"
    return f"""      {{ # {name}
        nkey: {key}
        permissions: {{
          publish: {{
            {publish}
          }}
          subscribe: {{ allow: {_list(may.subscribe)} }}
        }}
      }}"""


def _list(subjects: Iterable[str]) -> str:
    shown = [json.dumps(subject) for subject in subjects]
    if len(shown) < 2:
        return "[" + ", ".join(shown) + "]"
    gap = "\n" + " " * 14
    return "[" + gap + gap.join(shown) + gap[:-2] + "]"
