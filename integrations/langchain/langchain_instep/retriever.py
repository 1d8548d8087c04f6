"""A retriever that asks a running instep."""

from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field, SecretStr

from instep.client import AsyncClient, Client
from instep.retrieval import Filter, GroupBy, Mode, metadata_of, search_fields


class InstepRetriever(BaseRetriever):
    """Passages of documents that instep keeps in step with their sources.

    Every call finds the instance anew, so one that starts again on another port is found. `k`,
    `mode`, `filter`, `source` and `group_by` may also be given to `invoke`, for one question.

    Raises, when asked:
        instep.client.Refused: the gateway's answer is no; `fix` says what to do.
        instep.client.Unreachable: no gateway answers.

    Example:
        retriever = InstepRetriever(k=4, filter="path:guide/")
        for passage in retriever.invoke("how do I rotate a key"):
            print(passage.metadata["path"], passage.page_content)
    """

    url: str | None = None
    """The gateway; None: the instance of the data folder, else INSTEP_URL."""
    data: str | None = None
    """The data folder; None: INSTEP_DATA, else `.instep` here."""
    key: SecretStr | None = None
    """Of the gateway; None: as `instep.client.Client` finds it."""
    k: int = Field(default=4, ge=1, le=200)
    """Most passages."""
    mode: Mode | None = None
    filter: Filter | None = None
    """`path:guide/ language:en`, or the same as a mapping."""
    source: list[str] = Field(default_factory=list)
    """Only of these sources; empty: of all."""
    group_by: GroupBy = "chunk"
    """`chunk`: also several passages of one document; `document`: the best of each; `content`: the
    same, and equal documents once."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **given: Any
    ) -> list[Document]:
        client = Client(self.url, data=self.data, key=self._key())
        return _documents(client.search(query, **self._fields(given)))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **given: Any
    ) -> list[Document]:
        async with AsyncClient(self.url, data=self.data, key=self._key()) as client:
            return _documents(await client.search(query, **self._fields(given)))

    def _key(self) -> str | None:
        return self.key.get_secret_value() if self.key else None

    def _fields(self, given: dict[str, Any]) -> Any:
        names = ("k", "mode", "filter", "source", "group_by")
        own = {name: getattr(self, name) for name in names}
        if unknown := set(given) - set(own):
            raise TypeError(f"{', '.join(sorted(unknown))}: a question has {', '.join(own)}")
        own |= given
        return search_fields(own.pop("k"), **own)


def _documents(answer: Any) -> list[Document]:
    return [
        Document(id=hit.chunk.id, page_content=hit.chunk.text, metadata=metadata_of(hit))
        for hit in answer.hits
    ]
