"""The file endings of documents, and the format of each. Pure."""

from collections.abc import Mapping
from typing import Final, Literal

# fmt: off
Format = Literal[
    "text", "markdown", "html", "csv",
    "pdf", "docx", "pptx", "sheets", "odt", "epub", "rtf", "mail", "notebook",
]
# fmt: on

BY_ENDING: Final[dict[str, Format]] = {
    **dict.fromkeys((".md", ".markdown", ".mdown", ".mkd", ".mdx"), "markdown"),
    **dict.fromkeys((".txt", ".text", ".rst", ".adoc", ".org"), "text"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    ".pdf": "pdf",
    **dict.fromkeys((".docx", ".docm"), "docx"),
    **dict.fromkeys((".pptx", ".pptm"), "pptx"),
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"), "sheets"),
    **dict.fromkeys((".odt", ".odp"), "odt"),
    ".epub": "epub",
    ".rtf": "rtf",
    ".eml": "mail",
    ".ipynb": "notebook",
}
"""A folder without globs lists these endings. Any other ending is read as text if its bytes are."""


def ending(path: str) -> str:
    """The ending of a path in lower case, with its dot; an empty string where it has none."""
    name = path[path.rfind("/") + 1 :]
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def kind_of(path: str) -> str:
    """The ending under which a file without a format is counted; a long one is a part of a name."""
    found = ending(path)
    return found if len(found) <= LONGEST_ENDING else ""


LONGEST_ENDING: Final = 12
KINDS_TOLD: Final = 8
OTHERS: Final = "*"
"""In place of an ending: all that are not told by themselves."""


def most_common(counts: Mapping[str, int]) -> dict[str, int]:
    """The most frequent endings, and how many files have others."""
    by_count = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    told = dict(by_count[:KINDS_TOLD])
    others = sum(count for _, count in by_count[KINDS_TOLD:])
    return told | ({OTHERS: others} if others else {})


def in_words(counts: Mapping[str, int]) -> str:
    """`3 .png, 1 .zip, 2 without an ending, 4 others`."""
    names = {"": "without an ending", OTHERS: "others"}
    return ", ".join(f"{count:,} {names.get(name, name)}" for name, count in counts.items())
