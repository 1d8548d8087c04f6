"""instep for LangChain."""

from langchain_instep.retriever import InstepRetriever

__all__ = ["InstepRetriever"]
