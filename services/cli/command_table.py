"""Every command: its arguments, an example, and its handler. Data only, without imports.

`{command}` lines of the example are shown by `--help`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

MODES: Final = ("hybrid", "vector", "keyword")


class _ServiceNames:
    """The services of the table, read on demand: events take long to import."""

    def __iter__(self) -> Iterator[str]:
        from shared.domain.services import NAMES

        return iter(NAMES)

    def __contains__(self, name: object) -> bool:
        return name in tuple(self)


@dataclass(frozen=True, slots=True)
class Arg:
    """An argument, as `ArgumentParser.add_argument` takes it."""

    flags: tuple[str, ...]
    options: Mapping[str, Any]


def arg(*flags: str, **options: Any) -> Arg:
    return Arg(flags, options)


def flag(*flags: str, help: str) -> Arg:
    return Arg(flags, {"action": "store_true", "help": help})


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the command line."""

    name: str
    help: str
    example: str
    handler: str
    """`module:function` below `services.cli`; called with the arguments and the `Options`."""
    args: tuple[Arg, ...] = ()
    actions: tuple["Command", ...] = ()
    """Commands that a second word names; without it, the handler of this one is called."""


_CHOOSE: Final = (
    arg("ids", nargs="*", metavar="ID", help="as `instep failures` shows it, or SOURCE/PATH"),
    arg("--code", default="", metavar="C", help="all failures with this reason"),
    arg("--source", default="", metavar="S", help="only of this source"),
    arg("--stage", default="", metavar="S", help="only of this stage: enrich, embed, index"),
    arg("--path", default="", metavar="GLOB", help="only matching paths, such as 'guide/*.md'"),
    flag("--all", help="all failures"),
    flag("--dry-run", help="show the plan; change nothing"),
)

_WAITING: Final = (arg("source", metavar="SOURCE", help="as `instep removals` shows it"),)

_BUS_KEYS: Final = (
    arg(
        "folder",
        metavar="DIR",
        help="folder for keys and nats.conf; existing keys stay",
    ),
    arg(
        "--source",
        action="append",
        default=[],
        metavar="S",
        help="also a key that may only publish documents of this source",
    ),
    arg(
        "--bucket",
        action="append",
        default=[],
        metavar="S",
        help="also a password for the storage server that tells of changes in this source",
    ),
    flag("--force", help="replace every key; services need the new ones"),
    arg("--owner", type=int, metavar="UID", help="user id of the owner of the files"),
    arg("--store", default="/data", metavar="DIR", help="data folder of the server"),
    arg(
        "--listen",
        default="0.0.0.0:4222",
        metavar="H:P",
        help="address of the server",
    ),
    arg(
        "--http",
        default="0.0.0.0:8222",
        metavar="H:P",
        help="address of its monitoring",
    ),
    arg(
        "--cluster",
        default="nats-1,nats-2,nats-3",
        metavar="HOSTS",
        help="servers of a cluster, for nats-cluster.conf",
    ),
)

COMMANDS: Final = (
    Command(
        "up",
        "index folders, buckets or web pages, then watch them",
        "instep up ./docs\ninstep up ./docs ./wiki --once --json\ninstep up s3://team/docs",
        "up.command:run",
        (
            arg(
                "paths",
                nargs="*",
                metavar="PATH",
                help="a folder, s3://BUCKET/PREFIX, or a sitemap's URL; default: instep.toml",
            ),
            arg("--source", metavar="NAME", help="name for the folder as a source"),
            arg(
                "--include",
                action="append",
                default=[],
                metavar="GLOB",
                help="only matching files, whatever their endings; patterns as in .gitignore",
            ),
            arg(
                "--exclude",
                action="append",
                default=[],
                metavar="GLOB",
                help="leave out matching files and folders; patterns as in .gitignore",
            ),
            flag("--no-gitignore", help="read also what .gitignore names"),
            flag("--once", help="end when everything is in step"),
            flag("--strict", help="with --once: end with status 1 if a document is refused"),
            flag("--open", help="open the page in a browser as soon as it answers"),
            arg("--port", type=int, metavar="N", help="port of the gateway; 0: any free one"),
        ),
    ),
    Command(
        "run",
        "run some of the services in this process",
        "instep run embedder\n"
        "instep run producer enricher\n"
        "INSTEP_BUS__URL=nats://nats:4222 instep run indexer       # waits for the bus\n"
        "INSTEP_HEALTH__HOST=0.0.0.0 INSTEP_HEALTH__PORT=9464 instep run embedder\n"
        "curl localhost:9464/livez; curl localhost:9464/readyz; curl localhost:9464/metrics",
        "up.command:run_services",
        (
            arg(
                "services",
                nargs="+",
                metavar="SERVICE",
                choices=_ServiceNames(),
                help="services: %(choices)s",
            ),
        ),
    ),
    Command(
        "search",
        "search the index",
        'instep search "how do I rotate a key" -n 3 --explain\n'
        'instep search backup --filter "source:docs created_at>=2026-01-01 -path:old/"\n'
        "instep search '\"signing key\" rotate -draft'            # the phrase, and no draft\n"
        "instep search release notes --weight recency=0.3 --facet source --facet author",
        "commands.search:run",
        (
            arg(
                "query",
                nargs="+",
                metavar="Q",
                help='the question; a hit has every "phrase" in it and no -word, quote it whole',
            ),
            arg("-n", "--limit", type=int, metavar="N", help="most documents to show"),
            arg("--mode", choices=MODES, help="by words, by meaning, or both (the default)"),
            arg(
                "--filter",
                default="",
                metavar="F",
                help="source:NAME path:PREFIX FIELD:VALUE FIELD>=VALUE -FIELD:VALUE, or JSON",
            ),
            arg("--source", action="append", default=[], metavar="S", help="only of this source"),
            arg(
                "--weight",
                action="append",
                default=[],
                metavar="NAME=W",
                help="of vector, keyword, static, recency or title, for this question",
            ),
            arg(
                "--facet",
                action="append",
                default=[],
                metavar="FIELD",
                help="count what is found by source, folder, or a key of the metadata",
            ),
            flag("--explain", help="show the parts of every score"),
            flag("--chunks", help="one hit for each chunk, not for each document"),
            arg("--after", metavar="RECEIPT", help="wait for this submission first"),
        ),
    ),
    Command(
        "similar",
        "list the documents that are similar to one",
        "instep similar guide/keys.md -n 5\ninstep similar docs/a.md --source wiki --copies",
        "commands.similar:run",
        (
            arg("document", metavar="PATH", help="SOURCE/PATH, PATH, a file, or a document key"),
            arg("-n", "--limit", type=int, metavar="N", help="most documents to show"),
            arg("--filter", default="", metavar="F", help="source:NAME path:PREFIX -path:PREFIX"),
            arg("--source", action="append", default=[], metavar="S", help="only of this source"),
            flag("--copies", help="also documents that are equal to it"),
            flag("--explain", help="show the parts of every score"),
        ),
    ),
    Command(
        "status",
        "show how far the index is behind",
        "instep status\ninstep status --watch\ninstep status --pending",
        "commands.status:run",
        (
            flag("--watch", help="show it again every second"),
            flag("--pending", help="list the documents that are not searchable yet"),
        ),
    ),
    Command(
        "show",
        "show one document: state, reason, title, metadata, times, chunks; "
        "or what a folder leaves out, and why",
        "instep show guide/states.md\ninstep show docs/guide/states.md --chunks\ninstep show docs/",
        "commands.show:run",
        (
            arg(
                "document",
                metavar="PATH",
                help="SOURCE/PATH, PATH, a file or folder, or a document key",
            ),
            flag("--chunks", help="show the whole text of its chunks, not its first words"),
            flag("--history", help="list its revisions that are still known"),
            flag("--diff", help="show the chunks that its newest revision adds and removes"),
        ),
    ),
    Command(
        "publish",
        "send documents from anywhere",
        "instep publish notes.md --source inbox --wait 10\n"
        "echo '# Hello' | instep publish - --source inbox --path hello.md\n"
        "instep publish changes.jsonl --jsonl --source inbox",
        "publish.command:run",
        (
            arg("files", nargs="+", metavar="FILE", help="files to send; - is standard input"),
            arg("--source", required=True, metavar="S", help="source of the documents"),
            arg(
                "--path",
                metavar="P",
                help="path of the document; default: FILE as typed, and only its name where FILE "
                "is absolute or has a '..'",
            ),
            arg(
                "--wait",
                type=float,
                metavar="S",
                help="wait at most S seconds for search to find them",
            ),
            flag("--delete", help="remove the documents from the index"),
            flag("--jsonl", help="FILE holds submissions, one JSON object a line"),
        ),
    ),
    Command(
        "failures",
        "list refused and failed documents, and how to mend them",
        "instep failures\ninstep failures --code encrypted\ninstep failures dismiss d_17",
        "commands.failures:run_list",
        (
            arg("--source", default="", metavar="S", help="only of this source"),
            arg("--code", default="", metavar="C", help="only with this reason"),
            arg(
                "--stage", default="", metavar="S", help="only of this stage: enrich, embed, index"
            ),
            arg("--path", default="", metavar="GLOB", help="only matching paths"),
            arg("--state", default="", metavar="S", help="only refused, failed or dropped ones"),
        ),
        (
            Command(
                "dismiss",
                "stop listing failures; nothing leaves the index",
                "instep failures dismiss d_17\ninstep failures dismiss --all --dry-run",
                "commands.failures:run_dismiss",
                (*_CHOOSE, flag("--yes", help="do not ask")),
            ),
        ),
    ),
    Command(
        "retry",
        "try failed documents again",
        "instep retry f_k3vqm2tz\ninstep retry --code exhausted --path 'guide/*'",
        "commands.failures:run_retry",
        _CHOOSE,
    ),
    Command(
        "removals",
        "list removals that wait for your decision",
        "instep removals\ninstep removals approve docs\ninstep removals reject docs",
        "commands.removals:run_list",
        actions=(
            Command(
                "approve",
                "take the documents out of the index",
                "instep removals approve docs",
                "commands.removals:run_approve",
                _WAITING,
            ),
            Command(
                "reject",
                "leave the documents in the index until their files are back",
                "instep removals reject docs",
                "commands.removals:run_reject",
                _WAITING,
            ),
        ),
    ),
    Command(
        "sources",
        "list all sources: watched, published, not given any more",
        "instep sources\ninstep sources forget docs",
        "commands.sources:run_list",
        actions=(
            Command(
                "forget",
                "take all documents of a source out of the index",
                "instep sources forget docs\ninstep sources forget docs --yes",
                "commands.sources:run_forget",
                (
                    arg("source", metavar="NAME", help="as `instep sources` shows it"),
                    flag("--yes", help="do not ask"),
                ),
            ),
        ),
    ),
    Command(
        "validate",
        "compare the index with the ledger, and ask sample questions",
        "instep validate\ninstep validate --queries golden.jsonl",
        "commands.validate:run",
        (
            arg("--batch", metavar="B", help="only this batch"),
            arg("--source", default="", metavar="S", help="source of the batch"),
            arg("--queries", metavar="FILE", help='JSON Lines of {"q": …, "expect": "docs/a.md"}'),
        ),
    ),
    Command(
        "report",
        "show the outcome of a batch and of its checks",
        "instep report\ninstep report last --source docs --html report.html\n"
        "instep report --list\ninstep report --history --source docs",
        "commands.report:run",
        (
            arg("batch", nargs="?", default="last", metavar="BATCH", help="its id; default: last"),
            arg("--source", default="", metavar="S", help="only of this source"),
            arg("--html", metavar="FILE", help="write an HTML page; - is standard output"),
            flag("--list", help="list the open batches, and the last ones that ended"),
            flag("--history", help="list the verdicts on batches and of `validate`"),
            arg("-n", "--limit", type=int, default=20, metavar="N", help="most lines of a list"),
        ),
    ),
    Command(
        "sweep",
        "compare files, ledger and store, and repair",
        "instep sweep\ninstep sweep --dry-run",
        "commands.validate:run_sweep",
        (
            flag("--dry-run", help="show the differences; change nothing"),
            arg(
                "--batch-size",
                type=int,
                default=100,
                metavar="N",
                help="documents sent again at a time; default: 100",
            ),
            flag("--force", help="remove the rows of unknown documents, however many"),
        ),
    ),
    Command(
        "doctor",
        "check settings, data folder, bus, store, model and sources",
        "instep doctor\ninstep doctor --format json",
        "commands.doctor:run",
        (arg("--format", choices=("text", "json"), default="text", help="format of the report"),),
    ),
    Command(
        "settings",
        "show the settings in force, and their origins",
        "instep settings\ninstep settings --check instep.toml\ninstep settings --init",
        "commands.settings:run",
        (
            arg("--check", nargs="?", const="", metavar="FILE", help="list every fault of FILE"),
            flag("--schema", help="print the JSON Schema, for editors"),
            flag("--init", help="write a commented instep.toml"),
        ),
    ),
    Command(
        "provision",
        "create the streams and buckets of instep on the bus",
        "instep provision",
        "up.command:run_provision",
    ),
    Command(
        "keys",
        "make, list and revoke keys of the gateway; make those of a bus",
        "instep keys create --scope search,read --source docs --expires 90d\n"
        "instep keys list\ninstep keys revoke 0123456789ab\ninstep keys bus ./keys",
        "keys.gateway:run_list",
        actions=(
            Command(
                "create",
                "make a key and print it, once",
                "instep keys create --scope search\n"
                "instep keys create --scope read,write --source wiki --expires 90d --name importer",
                "keys.gateway:run_create",
                (
                    arg(
                        "--scope",
                        action="append",
                        required=True,
                        metavar="S",
                        help="what it allows: search, read, write, operate, admin",
                    ),
                    arg(
                        "--source",
                        action="append",
                        default=[],
                        metavar="S",
                        help="only of this source; default: all",
                    ),
                    arg("--expires", metavar="TIME", help="as 90d or 12h; default: never"),
                    arg("--name", default="", metavar="TEXT", help="who uses it, for the list"),
                ),
            ),
            Command("list", "list the keys", "instep keys list", "keys.gateway:run_list"),
            Command(
                "revoke",
                "let a key open nothing any more",
                "instep keys revoke 0123456789ab",
                "keys.gateway:run_revoke",
                (arg("id", metavar="ID", help="as `instep keys list` shows it"),),
            ),
            Command(
                "bus",
                "make keys for a NATS and a Weaviate server of your own",
                "instep keys bus ./keys\n"
                "instep keys bus ./keys --source wiki --store /var/lib/nats\n"
                "nats-server -c ./keys/nats.conf\n"
                "INSTEP_BUS__URL=nats://127.0.0.1:4222 INSTEP_BUS__NKEY=./keys/admin.nk "
                "instep provision",
                "keys.bus:run",
                _BUS_KEYS,
            ),
        ),
    ),
    Command(
        "open",
        "open the page in a browser, by a link that lets it in once",
        "instep open\ninstep open --print",
        "keys.gateway:run_open",
        (flag("--print", help="print the link; open nothing"),),
    ),
    Command(
        "mcp",
        "offer search, show and status to an assistant as tools (Model Context Protocol)",
        "claude mcp add instep -- instep mcp --data /srv/docs/.instep\n"
        "instep mcp --http 127.0.0.1:8770       # then each request shows a key of the gateway\n"
        "\n"
        "An assistant that reads a file, as claude_desktop_config.json or .cursor/mcp.json:\n"
        '{"mcpServers": {"instep": {"command": "instep",\n'
        '                           "args": ["mcp", "--data", "/srv/docs/.instep"]}}}\n'
        "VS Code, in .vscode/mcp.json:\n"
        '{"servers": {"instep": {"type": "stdio", "command": "instep",\n'
        '                        "args": ["mcp", "--data", "/srv/docs/.instep"]}}}\n'
        "By HTTP:\n"
        '{"mcpServers": {"instep": {"type": "http", "url": "http://127.0.0.1:8770/mcp",\n'
        '                           "headers": {"Authorization": "Bearer ik_..."}}}}',
        "mcp.command:run",
        (
            arg(
                "--http",
                metavar="HOST:PORT",
                help="serve over HTTP on this machine, with the key of each caller; port 0: any "
                "free one; default: one assistant on standard input and output",
            ),
            flag("--allow-publish", help="also offer a tool that writes documents"),
        ),
    ),
    Command(
        "contracts",
        "write the schemas of all events",
        "instep contracts\ninstep contracts --check",
        "commands.contracts:run",
        (
            flag("--check", help="only compare; end with status 1 if a file differs"),
            arg("--out", default="docs/contracts", metavar="DIR", help="folder of the schemas"),
        ),
    ),
    Command(
        "completion",
        "print a completion script for your shell",
        'eval "$(instep completion bash)"',
        "commands.completion:run",
        (arg("shell", choices=("bash", "zsh", "fish"), help="bash, zsh or fish"),),
    ),
    Command("version", "print the version", "instep version", "commands.completion:run_version"),
)

OLD_WORDS: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    ("failed",): ("failures",),
    ("drop",): ("failures", "dismiss"),
    ("holds",): ("removals",),
    ("holds", "release"): ("removals", "approve"),
    ("holds", "keep"): ("removals", "reject"),
}
"""The commands' names in the version before: they still work, and the help omits them."""
