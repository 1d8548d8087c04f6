"""`instep settings`, and the commented settings file that `settings --init` writes."""

import json
import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from services.cli import exits
from services.cli.exits import Stop
from services.cli.options import CONFIG
from services.cli.terminal import print_json
from services.host.options import Options

TEMPLATE: Final = """\
# instep.toml: settings of instep. Remove the # of a line to set it; the values are the defaults.
# INSTEP_EMBEDDING__MAX_BATCH=32 in the environment sets embedding.max_batch before this file does.
# Check it with: instep settings --check

# [sources.docs]                  # the name of the source: a-z, 0-9 and -
# kind = "folder"                 # folder | bucket | sql | web | push (NATS and HTTP)
# path = "./docs"                 # of bucket and web, in its place: url = "s3://docs/team"
# include = ["**/*.md"]           # default: every known format; hidden files never
# exclude = ["drafts/**"]
# watch = "auto"                  # auto | events | poll
# rescan = "5 min"                # interval of listings beside events
# max_bytes = "100 MB"
# records = false                 # true: each record of CSV, TSV and JSON files is a document; or
                                  # which fields are what: {key = ["sku"], body = ["text"]}
# fields.language = "keyword"     # searches may filter by it: keyword | keywords | number | date |
# fields.created_at = "date"      # boolean
# chunking.tokens = 160           # in place of [chunking]; a change cuts this source again
# chunking.template = ""          # "{title} {title}\\n{text}": what the model reads of a chunk

# hold_share = 0.5                # more of the files gone than this, and at least hold_count,
# hold_count = 20                 # wait for a person: instep removals

# [chunking]                      # another value is another index
# kind = "document"               # document | recursive | fixed
# tokens = 220
# overlap = 0.12

# [extraction]                    # limits for one large or odd file, read in a process of its own
# memory = "512 MB"
# timeout = "30 s"

# [embedding]
# model = "all-MiniLM-L6-v2"      # another value is another index
# device = "auto"                 # auto | cpu | cuda
# numeric = "f32"                 # f32 | int8; another value is another index
# max_batch = 64
# threads = 0                     # 0: one for each core

# [bus]
# url = "nats://127.0.0.1:4222"   # default: a server of its own, in the data folder
# nkey = "keys/embedder.nk"       # made by instep keys
# tls_ca = "ca.pem"               # signs the server's; instep then connects with encryption only

# [store]
# kind = "auto"                   # auto | sqlite | lancedb | weaviate | pgvector | memory
# weaviate.url = "http://127.0.0.1:8080"
# weaviate.key_file = "weaviate.key"
# pgvector.url = "postgresql://instep@localhost/instep"
# pgvector.password_file = "postgres.password"

# [search]
# mode = "hybrid"                 # hybrid | vector | keyword
# vector_weight = 0.6
# keyword_weight = 0.4
# static_weight = 0.0             # of the static_score that sources give
# recency_weight = 0.0
# recency_half_life = "90 d"      # at this age, half of the recency of today
# title_weight = 0.0              # of the question's words that are in the title
# phrase_weight = 0.05            # of a chunk with the question's words one after the other
# limit = 5
# rerank.url = "http://127.0.0.1:8081/v1/rerank"   # a cross-encoder; texts are sent there

# [validation]
# freshness_warn = "60 s"
# poll = "30 s"
# timeout = "1 h"
# batch_timeout = "1 h"           # without progress: the batch is reported as it is
# queries = "queries.jsonl"       # {"q": "...", "expect": "docs/a.md"}

# [sweep]
# every = "30 min"                # files, ledger and store are compared; 0: only when asked

# [gateway]
# host = "127.0.0.1"
# port = 8765                     # if it is taken: the next free one
# key_file = "gateway.key"        # one line: the owner's key; default: made in the data folder
# auth = "keys"                   # none: on this machine everybody may ask
# oidc.issuer = "https://login.example.org/realms/main"
# oidc.audience = "instep"        # of which tokens must be
# oidc.scopes_claim = "scope"     # a list, or one text with blanks
# oidc.scope_prefix = "instep:"   # instep:search and so on
# oidc.sources_claim = "instep_sources"  # default: a token sees all sources

# [webhooks.crm]                  # outcomes are sent there
# url = "https://crm.example.org/hooks/instep"
# secret_file = "crm.secret"      # one line; or secret = "...": signs what is sent
# types = ["document", "batch"]   # default: all; also validation
# sources = ["docs"]              # default: all

# [telemetry]
# log = "auto"                    # auto | text | json
# level = "auto"                  # auto (run: info, else warning) | debug | info | warning | error

# [health]                        # /livez, /readyz and /metrics of a process
# host = "127.0.0.1"
# port = 9464                     # default: any free one for `instep run`, else none
"""


def run(args: Namespace, options: Options) -> int:
    """Print the settings in force; or check, describe or write a settings file."""
    if args.schema:
        from shared.settings import Settings

        print_json(Settings.model_json_schema())
        return exits.DONE
    if args.init:
        return _init(Path(CONFIG))
    if args.check is not None:
        return _check(args.check, options)
    from shared.settings import leaves

    loaded = options.load()
    values = dict(leaves(loaded.settings.model_dump(mode="json")))
    if options.json:
        body = {
            name: {"value": public(value), "from": loaded.origins.get(name, "default")}
            for name, value in values.items()
        }
        print_json(body)
    else:
        print("\n".join(lines(values, loaded.origins)))
    return exits.DONE


def lines(values: Mapping[str, Any], origins: Mapping[str, str]) -> list[str]:
    """`embedding.max_batch = 64   from INSTEP_EMBEDDING__MAX_BATCH`, one setting a line. Pure."""
    values = {name: public(value) for name, value in values.items()}
    shown = {
        name: f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()
    }
    width = min(60, max(map(len, shown.values())))
    found = []
    for name, text in shown.items():
        origin = origins.get(name)
        found.append(f"{text:<{width}}   from {origin}" if origin else text)
    return found


def public(value: Any) -> Any:
    """The value, an address without its user and password. Pure."""
    return re.sub(r"://[^/@]*@", "://***@", value) if isinstance(value, str) else value


def _check(name: str, options: Options) -> int:
    from shared.settings import load

    path = Path(name) if name else options.config
    if path is not None and not path.is_file():
        raise Stop(f"{path}: no such settings file")
    load(config=path)
    where = path or "the environment"
    if options.json:
        print_json({"file": str(path) if path else None, "valid": True})
    else:
        print(f"{where}: every setting is known and fits")
    return exits.DONE


def _init(path: Path) -> int:
    if path.exists():
        raise Stop(f"{path} is there already", fix="move it away first")
    path.write_text(TEMPLATE, encoding="utf-8")
    print(f"wrote {path}: every line is a comment; remove the # of each line that you change")
    return exits.DONE
