"""The file endings of documents, and the format of each. Pure."""

from typing import Final, Literal

Format = Literal["text", "markdown", "html"]

BY_ENDING: Final[dict[str, Format]] = {
    **dict.fromkeys((".md", ".markdown", ".mdown", ".mkd", ".mdx"), "markdown"),
    **dict.fromkeys((".txt", ".text", ".rst", ".adoc", ".org"), "text"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
}
"""A folder without globs lists these endings. Any other ending is read as text if its bytes are."""


def ending(path: str) -> str:
    """The ending of a path in lower case, with its dot; an empty string where it has none."""
    name = path[path.rfind("/") + 1 :]
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""
