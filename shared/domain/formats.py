"""The file endings of documents, and the format of each. Pure."""

from collections.abc import Mapping
from typing import Final, Literal

from shared.domain.ids import last_name

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
    """The ending of a path in lower case, with its dot; of a URL that of its last part before `?`.

    Without one it is the whole name where that tells a format, as `makefile`, else empty.
    """
    name = last_name(path).lower()
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
IGNORED: Final = "ignored by "
"""With the name of the ignore file: a reason that stands in place of an ending, as those below."""
EXCLUDED: Final = "excluded"
BY_DEFAULT: Final = "left out by default"
HIDDEN: Final = "hidden"
LINKS: Final = "links not followed"
SPECIAL: Final = "special files"
"""Pipes, sockets and devices."""
_ONE: Final = {LINKS: "link not followed", SPECIAL: "special file"}
FOLDERS: Final = "folders "
"""In front of a reason: folders of which nothing is read."""
OTHERS: Final = "*"
"""In place of an ending: all that are not told by themselves."""


def most_common(counts: Mapping[str, int]) -> dict[str, int]:
    """The most frequent endings, how many files have others, and every other reason."""
    by_count = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    endings = [one for one in by_count if not is_reason(one[0])]
    others = sum(count for _, count in endings[KINDS_TOLD:])
    told = dict(endings[:KINDS_TOLD]) | ({OTHERS: others} if others else {})
    return told | {name: count for name, count in by_count if is_reason(name)}


def is_reason(kind: str) -> bool:
    """Whether files are counted under a reason, not under their ending."""
    return kind != "" and kind[0] not in ".*"


def in_words(counts: Mapping[str, int]) -> str:
    """`3 .png, 2 without an ending, 4 others, 1 folder ignored by .gitignore`."""
    return ", ".join(f"{count:,} {_name(kind, count)}" for kind, count in counts.items())


def _name(kind: str, count: int) -> str:
    if kind.startswith(FOLDERS) and count == 1:
        return f"folder {kind.removeprefix(FOLDERS)}"
    if count == 1 and kind in _ONE:
        return _ONE[kind]
    return {"": "without an ending", OTHERS: "others"}.get(kind, kind)
