"""The index of words of a LanceDB table, and how its name tells which version of words it holds.

The column holds words that are ready to be compared, so the index cuts it at blanks and does
nothing else. Rows of a version before hold other words there, or their text, in an index with
another name:
`shared.stores.lance.rewrite` writes their words, and then makes the index anew.
"""

from typing import TYPE_CHECKING, Any, Final

from shared.domain.text import words

if TYPE_CHECKING:
    from lancedb.table import AsyncTable

NAMED: Final = "words_"
INDEX: Final = f"{NAMED}{words.VERSION}"
BEFORE: Final = f"{NAMED}0"
"""The name for an index over rows whose words are not known to be of this version."""


async def is_worded(table: "AsyncTable") -> bool:
    """Whether every row has the words of this version, and is indexed by them alone."""
    return await _names(table) == [INDEX]


async def is_asked_by_words(table: "AsyncTable") -> bool:
    """Whether the index holds words of any version, and not text that it cuts itself."""
    names = await _names(table)
    return any(name.startswith(NAMED) and name != BEFORE for name in names)


async def has_index(table: "AsyncTable") -> bool:
    """Whether the index of this version is there; those of others are dropped then.

    A process that ends between the two steps of `make_index` leaves both.
    """
    if INDEX not in await _names(table):
        return False
    await _drop_others(table, INDEX)
    return True


async def ensure_index(table: "AsyncTable") -> None:
    """Make the index where there is none: rows that are there may be of any version."""
    if await _names(table):
        return
    await make_index(table, INDEX if not await table.count_rows() else BEFORE)


async def make_index(table: "AsyncTable", name: str) -> None:
    """Make the index, and drop those of other versions when it is there."""
    await table.create_index("words", config=_config(), name=name)
    await _drop_others(table, name)


async def _drop_others(table: "AsyncTable", kept: str) -> None:
    for name in await _names(table):
        if name != kept:
            await table.drop_index(name)


async def _names(table: "AsyncTable") -> list[str]:
    return [index.name for index in await table.list_indices() if index.columns == ["words"]]


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
