"""The index of words of a LanceDB table, and how its name tells which version of words it holds.

The column holds words that are ready to be compared, so the index cuts it at blanks and does
nothing else. Rows of a version before hold their text there instead, in an index with another name:
`shared.stores.lance.rewrite` writes their words, and then makes the index anew.
"""

from typing import TYPE_CHECKING, Any, Final

from shared.domain.text import words

if TYPE_CHECKING:
    from lancedb.table import AsyncTable

INDEX: Final = f"words_{words.VERSION}"
BEFORE: Final = "words_0"
"""The name for an index over rows whose words are not known to be of this version."""


async def is_worded(table: "AsyncTable") -> bool:
    """Whether every row has the words of this version, and is indexed by them."""
    return any(index.name == INDEX for index in await table.list_indices())


async def ensure_index(table: "AsyncTable") -> None:
    """Make the index where there is none: rows that are there may be of any version."""
    if any(index.columns == ["words"] for index in await table.list_indices()):
        return
    await make_index(table, INDEX if not await table.count_rows() else BEFORE)


async def make_index(table: "AsyncTable", name: str = INDEX) -> None:
    """Make the index, and drop those of other versions when it is there."""
    await table.create_index("words", config=_config(), name=name)
    for index in await table.list_indices():
        if index.columns == ["words"] and index.name != name:
            await table.drop_index(index.name)


def _config() -> Any:
    """Words between blanks as they are, without positions and of any length."""
    from lancedb.index import FTS

    return FTS(
        with_position=False,
        base_tokenizer="whitespace",
        lower_case=False,
        stem=False,
        remove_stop_words=False,
        ascii_folding=False,
        max_token_length=None,
    )
