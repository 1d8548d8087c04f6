"""The file endings of documents, and the format of each. Pure."""

from typing import Final, Literal

# fmt: off
Format = Literal[
    "text", "markdown", "html", "csv",
    "pdf", "docx", "pptx", "sheets", "odt", "epub", "rtf",
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
}
"""A folder without globs lists these endings. Any other ending is read as text if its bytes are."""


def ending(path: str) -> str:
    """The ending of a path in lower case, with its dot; an empty string where it has none."""
    name = path[path.rfind("/") + 1 :]
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""
