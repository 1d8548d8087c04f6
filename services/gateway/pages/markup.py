"""HTML from values: escapes everything except its own markup. Pure."""

import html
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

JOINER: Final = "\u200d"
"""Zero width joiner: holds an emoji together, and reorders nothing."""


class Markup(str):
    """HTML that was made by this package."""

    __slots__ = ()

    def __html__(self) -> "Markup":
        """As templates ask for HTML that is not to be escaped."""
        return self


Cell = Markup | str | int | float | None


def text(value: Cell) -> Markup:
    """Any value as text. Control and direction characters are spelt out.

    A path may hold a right-to-left mark or a newline; neither may change the look of the rest of
    the page.
    """
    if isinstance(value, Markup):
        return value
    if value is None:
        return Markup("-")
    if isinstance(value, int):
        return Markup(f"{value:,}")
    if isinstance(value, float):
        return Markup(number(value))
    shown = "".join(c if c.isprintable() or c == JOINER else _named(c) for c in value)
    return Markup(html.escape(shown))


def name(value: str) -> Markup:
    """A name of the outside world, apart from its surroundings in direction."""
    return Markup(f"<bdi>{text(value)}</bdi>")


def number(value: float) -> str:
    """`0.62`, `47.2`, `1,204`."""
    if abs(value) < 10:
        return f"{value:.2f}"
    return f"{value:,.1f}" if abs(value) < 100 else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """`0.62 s`, `47.2 s`, `4.5 min`, `2.0 h`."""
    if value is None:
        return "-"
    if value < 120:
        return f"{number(value)} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def moment(at: datetime) -> Markup:
    """A time in UTC, also for machines."""
    utc = at.astimezone(UTC)
    return Markup(f'<time datetime="{utc:%Y-%m-%dT%H:%M:%SZ}">{utc:%Y-%m-%d %H:%M:%S} UTC</time>')


def join(parts: Iterable[Markup]) -> Markup:
    return Markup("\n".join(part for part in parts if part))


def section(title: str, *parts: Markup) -> Markup:
    return Markup(f"<section>\n<h2>{text(title)}</h2>\n{join(parts)}\n</section>")


def paragraph(value: Cell) -> Markup:
    return Markup(f"<p>{text(value)}</p>")


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    right: Sequence[int] = (),
) -> Markup:
    """A table with headings; the first cell of a row is the heading of the row.

    Args:
        right: columns of numbers.
    """

    def cell(n: int, value: Cell) -> str:
        number_class = ' class="n"' if n in right else ""
        if n == 0:
            return f'<th scope="row"{number_class}>{text(value)}</th>'
        return f"<td{number_class}>{text(value)}</td>"

    def heading(n: int, value: str) -> str:
        number_class = ' class="n"' if n in right else ""
        return f'<th scope="col"{number_class}>{text(value)}</th>'

    lines = "\n".join(
        f"<tr>{''.join(cell(n, value) for n, value in enumerate(row))}</tr>" for row in rows
    )
    top = "".join(heading(n, value) for n, value in enumerate(head))
    return Markup(
        f'<div class="wide" tabindex="0" role="region" aria-label="{text(caption)}">'
        f"<table>\n<caption>{text(caption)}</caption>\n"
        f"<thead><tr>{top}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table></div>"
    )


def facts(pairs: Iterable[tuple[str, Cell]]) -> Markup:
    """A list of names and values."""
    lines = "".join(
        f"<div><dt>{text(label)}</dt><dd>{text(value)}</dd></div>" for label, value in pairs
    )
    return Markup(f"<dl>{lines}</dl>")


def details(summary: str, content: Markup) -> Markup:
    return Markup(f"<details><summary>{text(summary)}</summary>\n{content}\n</details>")


def _named(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
