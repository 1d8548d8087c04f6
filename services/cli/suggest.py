"""Suggestions for mistyped words. Pure."""

import re
import unicodedata
from collections.abc import Iterable
from shlex import quote
from typing import Final

from services.cli.exits import Stop

LONGEST: Final = 40
"""Characters of the name of a source."""

_NUMBER = re.compile(r"invalid (?:int|float) value: ('.*')$")
_VALUE = re.compile(r"argument (?:\S+/)?(--[a-z-]+): expected one argument$")
_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from ([^()]*)\)")


def slug(text: str) -> str:
    """`My Notes (2026)` becomes `my-notes-2026`; a name without letters or digits, `docs`."""
    begin = text[: 8 * LONGEST]  # to order marks upon marks takes quadratic time
    plain = unicodedata.normalize("NFKD", begin).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST].strip("-") or "docs"


def check_name(name: str) -> None:
    """Raise Stop, with a possible name, where `--source` cannot be the name of a source."""
    from shared.domain.ids import SOURCE_RULE, is_source

    if not is_source(name):
        raise Stop(f"--source {quote(name)}: {SOURCE_RULE}", fix=f"--source {slug(name)}")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that looks most like `word`, if any does."""
    from difflib import get_close_matches

    found = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def unknown_command(word: str, known: Iterable[str]) -> str:
    near = nearest(word, known)
    meant = f"did you mean {near}?" if near else "instep --help lists the commands"
    return f"{word!r} is not a command; {meant}"


def unknown_options(
    words: Iterable[str], known: Iterable[str], command: str, *, takes_words: bool = False
) -> str:
    """One line for arguments that the command does not take.

    Args:
        takes_words: the command takes free words, which may begin with a dash.
    """
    words, known = list(words), list(known)
    first = next((w for w in words if w.startswith("-")), words[0])
    name = first.partition("=")[0]
    if not name.startswith("-"):
        return f"{name!r} is one argument too many for {command}; quote words with spaces"
    near = nearest(name, known)
    meant = f"did you mean {near}?" if near else "--help lists them."
    said = f"{name} is no option of {command}; {meant}"
    if takes_words:
        return f"{said} If it is no option, write: instep {command} -- {quote(first)}"
    return said.rstrip(".")


def plain(message: str) -> str:
    """argparse's message in our words, with a suggestion in place of a long list of choices."""
    if number := _NUMBER.search(message):
        return f"{message[: number.start()]}{number[1]} is not a number"
    if value := _VALUE.search(message):
        return f"{value[1]} needs a value; one that begins with a dash is written {value[1]}=VALUE"
    found = _CHOICE.search(message)
    if not found:
        return message
    choices = [choice.strip(" '") for choice in found[2].split(",")]
    near = nearest(found[1], choices)
    meant = f"did you mean {near}?" if near else f"choose from {', '.join(choices)}"
    return f"{message[: found.start()]}{found[1]!r} is not possible; {meant}"
