"""Ask instep from a LlamaIndex query engine: python example.py [QUESTION]

An instance runs already: `instep up ./docs`, in this folder or the one that INSTEP_DATA names.
"""

import sys

from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.retrievers.instep import InstepRetriever

question = " ".join(sys.argv[1:]) or "how do I rotate a key"
# a model takes the place of MockLLM, which says what it was asked
engine = RetrieverQueryEngine.from_args(InstepRetriever(similarity_top_k=3), llm=MockLLM())
answer = engine.query(question)

print(answer.response)
for found in answer.source_nodes:
    print(f"{found.score:.4f}  {found.node.metadata['source']}/{found.node.metadata['path']}")
