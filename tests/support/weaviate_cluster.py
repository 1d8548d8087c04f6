"""Three Weaviate nodes on one machine, of which any may be killed and started again."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from weaviate_server import WeaviateServer

NODES = 3


class WeaviateCluster:
    """Nodes of one cluster, by local executables; they elect their leader as real ones do."""

    def __init__(self, executable: str, folder: Path, **environment: str) -> None:
        names = [f"node{n}" for n in range(1, NODES + 1)]
        self.nodes = [WeaviateServer(executable, folder / name, name=name) for name in names]
        first = self.nodes[0]
        for node in self.nodes:
            node.environment = environment | {
                "RAFT_JOIN": ",".join(f"{one.name}:{one.raft_port}" for one in self.nodes),
                "RAFT_BOOTSTRAP_EXPECT": str(NODES),
            }
            if node is not first:
                node.environment["CLUSTER_JOIN"] = f"127.0.0.1:{first.gossip_port}"

    def start(self) -> None:
        """All at once: none is ready before there is a majority."""
        with ThreadPoolExecutor(NODES) as pool:
            list(pool.map(WeaviateServer.start, self.nodes))

    def stop(self) -> None:
        with ThreadPoolExecutor(NODES) as pool:
            list(pool.map(WeaviateServer.stop, self.nodes))
