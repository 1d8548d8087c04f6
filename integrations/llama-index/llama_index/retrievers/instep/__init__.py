"""instep for LlamaIndex."""

from llama_index.retrievers.instep.base import InstepRetriever

__all__ = ["InstepRetriever"]
