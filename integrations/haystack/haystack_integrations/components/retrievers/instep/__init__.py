"""instep for Haystack."""

from haystack_integrations.components.retrievers.instep.retriever import InstepRetriever

__all__ = ["InstepRetriever"]
