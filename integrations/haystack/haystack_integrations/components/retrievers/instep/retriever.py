"""A component that asks a running instep."""

from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.utils import Secret, deserialize_secrets_inplace

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


@component
class InstepRetriever:
    """Passages of documents that instep keeps in step with their sources.

    Every run finds the instance anew, so one that starts again on another port is found.

    Raises, when run:
        instep.client.Refused: the gateway's answer is no; `fix` says what to do.
        instep.client.Unreachable: no gateway answers.
        ValueError: instep has no such filter.

    Example:
        retriever = InstepRetriever(top_k=4, filters="path:guide/")
        for passage in retriever.run(query="how do I rotate a key")["documents"]:
            print(passage.meta["path"], passage.score)
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        data: str | None = None,
        key: Secret | None = None,
        top_k: int = 10,
        mode: Mode | None = None,
        filters: Filter | None = None,
        source: list[str] | None = None,
        group_by: GroupBy = "chunk",
    ) -> None:
        """Make a retriever; nothing is asked yet.

        Args:
            url: of the gateway; None: the instance of the data folder, else INSTEP_URL.
            data: the data folder; None: INSTEP_DATA, else `.instep` here.
            key: of the gateway; None: as `instep.client.Client` finds it.
            top_k: most passages.
            filters: those of Haystack, or of instep as a text or mapping.
            source: only of these sources; None: of all.
            group_by: `chunk`: also several passages of one document; `document`: the best of each;
                `content`: the same, and equal documents once.
        """
        self.url, self.data, self.key = url, data, key
        self.top_k, self.mode, self.filters = top_k, mode, filters
        self.source, self.group_by = source, group_by

    def to_dict(self) -> dict[str, Any]:
        """The component as a mapping, without the value of its key."""
        return default_to_dict(
            self,
            url=self.url,
            data=self.data,
            key=self.key.to_dict() if self.key else None,
            top_k=self.top_k,
            mode=self.mode,
            filters=self.filters,
            source=self.source,
            group_by=self.group_by,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "InstepRetriever":
        """The component of such a mapping."""
        deserialize_secrets_inplace(data["init_parameters"], keys=["key"])
        made: InstepRetriever = default_from_dict(cls, data)
        return made

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, filters: Filter | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Search. `filters` and `top_k` replace those of the component for this question."""
        client = Client(self.url, data=self.data, key=self._key())
        return {"documents": _documents(client.search(query, **self._fields(filters, top_k)))}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, filters: Filter | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """The same for asyncio."""
        async with AsyncClient(self.url, data=self.data, key=self._key()) as client:
            found = await client.search(query, **self._fields(filters, top_k))
        return {"documents": _documents(found)}

    def _key(self) -> str | None:
        return self.key.resolve_value() if self.key else None

    def _fields(self, filters: Filter | None, top_k: int | None) -> Any:
        return search_fields(
            self.top_k if top_k is None else top_k,
            mode=self.mode,
            filter=_filter(filters or self.filters),
            source=self.source or (),
            group_by=self.group_by,
        )


def _filter(filters: Filter | None) -> Filter | None:
    """The filter of instep that says the same as one of Haystack."""
    if not isinstance(filters, dict) or "operator" not in filters:
        return filters
    if "conditions" in filters:
        parts = [_filter(one) for one in filters["conditions"]]
        return combined(filters["operator"], parts)  # type: ignore[arg-type]
    name = str(filters.get("field", "")).removeprefix("meta.")
    return compared(name, filters["operator"], filters.get("value"))


def _documents(answer: Any) -> list[Document]:
    return [
        Document(id=hit.chunk.id, content=hit.chunk.text, meta=metadata_of(hit), score=hit.score)
        for hit in answer.hits
    ]
