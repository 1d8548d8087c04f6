"""From words to arguments: argparse, with suggestions, and errors in one line."""

import re
from argparse import SUPPRESS, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, Final, NoReturn

from services.cli import suggest
from services.cli.commands import COMMANDS, Command
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


class Missing(Stop):
    """An argument that the command needs is not there."""


class Parser(ArgumentParser):
    """Says one line that helps, not the usage of everything."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("argument COMMAND: invalid choice: "):
            word = message.split("'")[1]
            raise Stop(suggest.unknown_command(word, [c.name for c in COMMANDS]))
        command = self.prog.partition(" ")[2]
        help_of = f"{self.prog} --help"
        where = f"{command}: " if command else ""
        end = Missing if message.startswith("the following arguments are required") else Stop
        raise end(f"{where}{suggest.plain(message)} ({help_of} shows an example)")


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
    try:
        args, unknown = parser.parse_known_args(argv)
    except Missing:
        # a question that begins with a dash is read as an option, and missed as a question
        command = next((c for word in argv for c in COMMANDS if c.name == word), None)
        if command and (words := _no_options(argv, _options_of(command.name))):
            raise _unknown(words, command) from None
        raise
    if unknown:
        raise _unknown(unknown, next(c for c in COMMANDS if c.name == args.command))
    return args


def _unknown(words: Sequence[str], command: Command) -> Stop:
    takes_words = any(
        not argument.flags[0].startswith("-") and "choices" not in argument.options
        for argument in command.args
    )
    known = _options_of(command.name)
    return Stop(suggest.unknown_options(words, known, command.name, takes_words=takes_words))


def _no_options(argv: Sequence[str], known: Sequence[str]) -> list[str]:
    """The arguments that look like options and are none; numbers and what has spaces do not."""
    dashed = (
        word
        for word in takewhile(lambda word: word != "--", argv)
        if re.match(r"-[^\d.\s]\S*$", word)
    )
    return [w for w in dashed if w.partition("=")[0] not in known and w[:2] not in known]


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
