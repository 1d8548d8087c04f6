"""The file endings of documents, and the format of each. Pure."""

from collections.abc import Mapping
from typing import Final, Literal

# fmt: off
Format = Literal[
    "text", "markdown", "html", "csv",
    "pdf", "docx", "pptx", "sheets", "odt", "epub", "rtf", "mail", "notebook",
    "json", "xml", "settings", "code", "rst", "adoc",
]
# fmt: on

# fmt: off
_ENDINGS_OF_CODE: Final = (
    ".py", ".pyi", ".js", ".mjs", ".cjs", ".ts", ".tsx", ".jsx", ".vue", ".svelte", ".css", ".scss",
    ".sass", ".less", ".go", ".java", ".kt", ".kts", ".scala", ".groovy", ".gradle", ".swift", ".m",
    ".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".hh", ".cs", ".fs", ".vb", ".rs", ".zig", ".nim",
    ".rb", ".php", ".pl", ".pm", ".lua", ".r", ".jl", ".dart", ".ex", ".exs", ".erl", ".hs", ".ml",
    ".clj", ".cljs", ".lisp", ".el", ".sh", ".bash", ".zsh", ".fish", ".ps1", ".bat", ".sql",
    ".proto", ".graphql", ".gql", ".thrift", ".tf", ".hcl", ".nix", ".cmake", ".mk", ".dockerfile",
)
_FILES_OF_CODE: Final = (
    "dockerfile", "containerfile", "makefile", "gnumakefile", "justfile", "jenkinsfile",
    "vagrantfile", "rakefile", "gemfile", "procfile",
)
_FILES_OF_TEXT: Final = (
    "readme", "license", "licence", "copying", "notice", "changelog", "changes", "history", "news",
    "authors", "contributors", "contributing", "maintainers", "install", "todo",
)
# fmt: on

BY_ENDING: Final[dict[str, Format]] = {
    **dict.fromkeys((".md", ".markdown", ".mdown", ".mkd", ".mdx"), "markdown"),
    **dict.fromkeys((".txt", ".text", ".org"), "text"),
    **dict.fromkeys((".rst", ".rest"), "rst"),
    **dict.fromkeys((".adoc", ".asciidoc", ".asc"), "adoc"),
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
    **dict.fromkeys((".json", ".jsonl", ".ndjson", ".geojson"), "json"),
    **dict.fromkeys((".xml", ".rss", ".atom", ".opml", ".dbk"), "xml"),
    **dict.fromkeys((".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".properties"), "settings"),
    **dict.fromkeys(_ENDINGS_OF_CODE, "code"),
    **dict.fromkeys(_FILES_OF_CODE, "code"),
    **dict.fromkeys(_FILES_OF_TEXT, "text"),
}
"""A folder without globs lists these endings, and files of these names that have none. Any other
ending is read as text if its bytes are."""


def ending(path: str) -> str:
    """The ending of a path in lower case, with its dot.

    Without one it is the whole name where that tells a format, as `makefile`, else empty.
    """
    name = path[path.rfind("/") + 1 :].lower()
    dot = name.rfind(".")
    if dot > 0:
        return name[dot:]
    return name if dot < 0 and name in BY_ENDING else ""


def kind_of(path: str) -> str:
    """The ending under which a file without a format is counted; a long one is a part of a name."""
    found = ending(path)
    return found if found.startswith(".") and len(found) <= LONGEST_ENDING else ""


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
