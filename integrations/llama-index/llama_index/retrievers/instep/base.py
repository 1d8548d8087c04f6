"""A retriever that asks a running instep."""

from collections.abc import Sequence
from typing import Any, Final

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import (
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import FilterOperator, MetadataFilters

from instep.client import AsyncClient, Client
from instep.retrieval import (
    Filter,
    GroupBy,
    Mode,
    combined,
    compared,
    metadata_of,
    search_fields,
)

NOT_FOR_MODELS: Final = ["chunk", "revision", "score", "stale"]
"""Metadata that tell a model nothing about the text."""


class InstepRetriever(BaseRetriever):
    """Passages of documents that instep keeps in step with their sources.

    Every call finds the instance anew, so one that starts again on another port is found.

    Raises, when asked:
        instep.client.Refused: the gateway's answer is no; `fix` says what to do.
        instep.client.Unreachable: no gateway answers.

    Example:
        retriever = InstepRetriever(similarity_top_k=4, filters="path:guide/")
        for found in retriever.retrieve("how do I rotate a key"):
            print(found.node.metadata["path"], found.score)
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        data: str | None = None,
        key: str | None = None,
        similarity_top_k: int = 4,
        mode: Mode | None = None,
        filters: MetadataFilters | Filter | None = None,
        source: Sequence[str] = (),
        group_by: GroupBy = "chunk",
        callback_manager: CallbackManager | None = None,
        verbose: bool = False,
    ) -> None:
        """Make a retriever; nothing is asked yet.

        Args:
            url: of the gateway; None: the instance of the data folder, else INSTEP_URL.
            data: the data folder; None: INSTEP_DATA, else `.instep` here.
            key: of the gateway; None: as `instep.client.Client` finds it.
            similarity_top_k: most passages.
            filters: those of LlamaIndex, or of instep as a text or mapping.
            source: only of these sources; empty: of all.
            group_by: `chunk`: also several passages of one document; `document`: the best of each;
                `content`: the same, and equal documents once.

        Raises:
            ValueError: instep has no such filter.
        """
        super().__init__(callback_manager=callback_manager, verbose=verbose)
        self._access: dict[str, Any] = {"url": url, "data": data, "key": key}
        self._fields = search_fields(
            similarity_top_k,
            mode=mode,
            filter=_filter(filters) if isinstance(filters, MetadataFilters) else filters,
            source=source,
            group_by=group_by,
        )

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return _nodes(Client(**self._access).search(query_bundle.query_str, **self._fields))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        async with AsyncClient(**self._access) as client:
            return _nodes(await client.search(query_bundle.query_str, **self._fields))


def _filter(filters: MetadataFilters) -> dict[str, Any]:
    parts = []
    for one in filters.filters:
        if isinstance(one, MetadataFilters):
            parts.append(_filter(one))
        else:
            operator = "not in" if one.operator == FilterOperator.NIN else one.operator.value
            parts.append(compared(one.key, operator, one.value))
    word = filters.condition.value if filters.condition else "and"
    # there `not` is that none of them holds
    return {"not": combined("or", parts)} if word == "not" else combined(word, parts)


def _nodes(answer: Any) -> list[NodeWithScore]:
    return [
        NodeWithScore(
            node=TextNode(
                id_=hit.chunk.id,
                text=hit.chunk.text,
                metadata=metadata_of(hit),
                excluded_embed_metadata_keys=NOT_FOR_MODELS,
                excluded_llm_metadata_keys=NOT_FOR_MODELS,
                relationships={
                    NodeRelationship.SOURCE: RelatedNodeInfo(node_id=hit.document.doc_key)
                },
            ),
            score=hit.score,
        )
        for hit in answer.hits
    ]
