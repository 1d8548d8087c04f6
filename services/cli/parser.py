"""From words to arguments: argparse, with suggestions, and errors in one line."""

from argparse import SUPPRESS, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from services.cli import suggest
from services.cli.commands import COMMANDS
from services.cli.exits import Stop

GLOBALS: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (("--data",), {"metavar": "DIR", "help": "data folder (INSTEP_DATA; default .instep)"}),
    (("--config",), {"metavar": "FILE", "help": "settings (INSTEP_CONFIG; default instep.toml)"}),
    (("--url",), {"metavar": "URL", "help": "gateway to ask (INSTEP_URL)"}),
    (("--key-file",), {"metavar": "FILE", "help": "key to show it (INSTEP_KEY_FILE)"}),
    (("--json",), {"action": "store_true", "help": "print the answer as JSON"}),
    (("--quiet",), {"action": "store_true", "help": "no progress"}),
    (("--debug",), {"action": "store_true", "help": "tracebacks"}),
    (("--no-color",), {"action": "store_true", "help": "no colour (NO_COLOR)"}),
)
DESCRIPTION: Final = """keeps a vector index in step with changing documents

  instep up ./docs                            index a folder and watch it
  instep search "how do I rotate a key"       ask; then edit a file and ask again
  instep status                               how far the index is behind
"""


STATUSES: Final = """exit status:
  0 done   1 done, but something needs you   2 change arguments or settings
  3 not reachable   4 --wait timed out   70 a fault of instep   130 interrupted"""


class Parser(ArgumentParser):
    """Says one line that helps, not the usage of everything."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("argument COMMAND: invalid choice: "):
            word = message.split("'")[1]
            raise Stop(suggest.unknown_command(word, [c.name for c in COMMANDS]))
        command = self.prog.partition(" ")[2]
        help_of = f"{self.prog} --help"
        where = f"{command}: " if command else ""
        raise Stop(f"{where}{suggest.plain(message)} ({help_of} shows an example)")


def parse(argv: Sequence[str]) -> Namespace:
    """Read the arguments; `handler` names who does the work.

    Raises:
        Stop: they cannot be understood; says what was meant.
        SystemExit: help or the version was asked for, and printed.
    """
    parser = build()
    first = argv[0].partition("=")[0] if argv else ""
    if first.startswith("--") and first not in _options_of(None):
        raise Stop(suggest.unknown_options([first], _options_of(None), "instep"))
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        raise Stop(suggest.unknown_options(unknown, _options_of(args.command), args.command))
    return args


def build() -> ArgumentParser:
    """The whole command line."""
    parser = Parser(
        prog="instep",
        description=DESCRIPTION,
        epilog=STATUSES,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    defaults = {"command": None, "handler": None, "version": False}
    parser.set_defaults(**defaults, **{_name(flags): None for flags, _ in GLOBALS[:3]})
    parser.set_defaults(**{_name(flags): False for flags, _ in GLOBALS[3:]})
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in COMMANDS:
        sub = commands.add_parser(
            command.name,
            help=command.help,
            description=command.help,
            epilog="example:\n" + "\n".join(f"  {line}" for line in command.example.split("\n")),
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        sub.set_defaults(handler=command.handler)
        for argument in command.args:
            sub.add_argument(*argument.flags, **argument.options)
        _add_globals(sub)
    _add_globals(parser)
    return parser


def _add_globals(parser: ArgumentParser) -> None:
    """Both before and after the command: an absent option must not undo a given one."""
    group = parser.add_argument_group("for every command")
    for flags, options in GLOBALS:
        group.add_argument(*flags, **options, default=SUPPRESS)


def _options_of(command: str | None) -> list[str]:
    own = next((c.args for c in COMMANDS if c.name == command), ())
    flags = [flag for argument in own for flag in argument.flags if flag.startswith("-")]
    return [*flags, *(flag for names, _ in GLOBALS for flag in names), "--help", "--version"]


def _name(flags: tuple[str, ...]) -> str:
    return flags[0].strip("-").replace("-", "_")
