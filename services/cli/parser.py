"""The parser of arguments: argparse, with suggestions, and errors in one line."""

import re
from argparse import SUPPRESS, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Collection, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, NoReturn

from services.cli import suggest
from services.cli.command_table import COMMANDS, OLD_WORDS, Command
from services.cli.exits import Stop

if TYPE_CHECKING:
    from argparse import _SubParsersAction

GLOBALS: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (("--data",), {"metavar": "DIR", "help": "data folder (INSTEP_DATA; default .instep)"}),
    (("--config",), {"metavar": "FILE", "help": "settings (INSTEP_CONFIG; default instep.toml)"}),
    (("--url",), {"metavar": "URL", "help": "gateway to ask (INSTEP_URL)"}),
    (("--key-file",), {"metavar": "FILE", "help": "key to show (for --url also INSTEP_KEY_FILE)"}),
    (("--json",), {"action": "store_true", "help": "print the answer as JSON"}),
    (("--quiet",), {"action": "store_true", "help": "print no progress"}),
    (("--debug",), {"action": "store_true", "help": "print tracebacks"}),
    (("--no-color",), {"action": "store_true", "help": "print no colour (NO_COLOR)"}),
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
    """A required argument is missing."""


class Parser(ArgumentParser):
    """Reports an error in one line that helps, without the whole usage."""

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
    """Read the arguments; `handler` names the function that does the work.

    Raises:
        Stop: they cannot be understood; suggests the likely words.
        SystemExit: help or the version was asked for, and printed.
    """
    argv = with_bus(argv)
    parser = build()
    first = argv[0].partition("=")[0] if argv else ""
    if first.startswith("--") and first not in _options_of(()):
        raise Stop(suggest.unknown_options([first], _options_of(()), "instep"))
    try:
        args, unknown = parser.parse_known_args(argv)
    except Missing:
        # a question that begins with a dash is read as an option, and missed as a question
        named = _named([argv[at] for at in _plain(argv)])
        if named and (words := _no_options(argv, _options_of(named))):
            raise _unknown(words, named) from None
        raise
    named = _named([word for word in (args.command, args.action) if word])
    if words := unknown or _misplaced(args, named):
        raise _unknown(words, named)
    return args


def renamed(argv: Sequence[str]) -> tuple[list[str], str]:
    """Replace the words of the version before for a command. Pure.

    Returns:
        The arguments, and a line that names the new words; empty where nothing was replaced.
    """
    places = _plain(argv)[:2]
    words = [argv[place] for place in places]
    old = next((tuple(words[:n]) for n in (2, 1) if tuple(words[:n]) in OLD_WORDS), ())
    if not old:
        return list(argv), ""
    new, first = OLD_WORDS[old], places[0]
    rest = [w for place, w in enumerate(argv) if place > first and place not in places[: len(old)]]
    said = f"{' '.join(old)!r} is now called {' '.join(new)!r}; the next version takes only the new"
    return [*argv[:first], *new, *rest], f"{said} name"


def with_bus(argv: Sequence[str]) -> list[str]:
    """Read `keys DIR`, as earlier versions spell it, as `keys bus DIR`. Pure."""
    places = _plain(argv)
    if not places or argv[places[0]] != "keys":
        return list(argv)
    actions = {action.name: action for action in _named(["keys"])[0].actions}
    own = [name for one in actions["bus"].args if "metavar" in one.options for name in one.flags]
    after = next((argv[place] for place in _plain(argv, own) if place > places[0]), None)
    if after is None or after in actions:
        return list(argv)
    return [*argv[: places[0] + 1], "bus", *argv[places[0] + 1 :]]


def _plain(argv: Sequence[str], more: Collection[str] = ()) -> list[int]:
    """Places of the words that are neither options for every command nor their values.

    Args:
        more: further options that take a value.
    """
    takes_value = {flags[0] for flags, options in GLOBALS if "metavar" in options} | {*more}
    found, is_value = [], False
    for place, word in enumerate(argv):
        if not (is_value or word.startswith("-")):
            found.append(place)
        is_value = not is_value and word in takes_value
    return found


def _named(words: Sequence[str]) -> list[Command]:
    """The command that the first word names, and its action that the second one names."""
    named: list[Command] = []
    for word in words:
        commands = named[-1].actions if named else COMMANDS
        found = next((command for command in commands if command.name == word), None)
        if found is None:
            break
        named.append(found)
    return named


def _misplaced(args: Namespace, named: Sequence[Command]) -> list[str]:
    """Options that were given to a command, and that its action does not take."""
    known = _options_of(named)
    outer = (argument for command in named[:-1] for argument in command.args)
    return [
        argument.flags[0]
        for argument in outer
        if argument.flags[0] not in known and getattr(args, _name(argument.flags))
    ]


def _unknown(words: Sequence[str], named: Sequence[Command]) -> Stop:
    takes_words = any(
        not argument.flags[0].startswith("-") and "choices" not in argument.options
        for command in named[-1:]
        for argument in command.args
    )
    name = " ".join(command.name for command in named) or "instep"
    known = _options_of(named)
    return Stop(suggest.unknown_options(words, known, name, takes_words=takes_words))


def _no_options(argv: Sequence[str], known: Sequence[str]) -> list[str]:
    """Unknown options among the arguments; numbers and words with spaces are none."""
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
    defaults = {"command": None, "action": None, "handler": None, "version": False}
    parser.set_defaults(**defaults, **{_name(flags): None for flags, _ in GLOBALS[:3]})
    parser.set_defaults(**{_name(flags): False for flags, _ in GLOBALS[3:]})
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in COMMANDS:
        _add(commands, command)
    _add_globals(parser)
    return parser


def _add(
    commands: "_SubParsersAction[Parser]",
    command: Command,
    given: Collection[tuple[str, ...]] = (),
) -> None:
    """`given`: options that may stand before the command, too; an absent one undoes none."""
    parser = commands.add_parser(
        command.name,
        help=command.help,
        description=command.help,
        epilog="example:\n" + "\n".join(f"  {line}" for line in command.example.split("\n")),
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(handler=command.handler)
    for argument in command.args:
        absent = {"default": SUPPRESS} if argument.flags in given else {}
        parser.add_argument(*argument.flags, **{**argument.options, **absent})
    if command.actions:
        actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
        for action in command.actions:
            _add(actions, action, given={argument.flags for argument in command.args})
    _add_globals(parser)


def _add_globals(parser: ArgumentParser) -> None:
    """Both before and after the command: an absent option must not undo a given one."""
    group = parser.add_argument_group("for every command")
    for flags, options in GLOBALS:
        group.add_argument(*flags, **options, default=SUPPRESS)


def _options_of(named: Sequence[Command]) -> list[str]:
    own = named[-1].args if named else ()
    flags = [flag for argument in own for flag in argument.flags if flag.startswith("-")]
    return [*flags, *(flag for names, _ in GLOBALS for flag in names), "--help", "--version"]


def _name(flags: tuple[str, ...]) -> str:
    return flags[0].strip("-").replace("-", "_")
