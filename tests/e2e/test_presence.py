"""How many processes serve a stage, as `instep status` tells it."""

import os
import signal

from instep_process import wait_until

EACH_ONE = dict.fromkeys(("accept", "enricher", "embedder", "indexer", "validator"), 1)


def test_status_counts_a_process_that_joins_and_one_that_leaves(instep, tmp_path):
    (tmp_path / "docs").mkdir()
    instep.up(tmp_path / "docs")

    def told():
        stages = instep.json("status")["stages"]
        return {stage["stage"]: stage["replicas"] for stage in stages}

    wait_until(lambda: told() == EACH_ONE, within_s=300)
    embedder = instep.start("run", "embedder")
    wait_until(lambda: told() == EACH_ONE | {"embedder": 2}, within_s=300)
    os.killpg(embedder.pid, signal.SIGTERM)
    wait_until(lambda: told() == EACH_ONE, within_s=300)

    assert embedder.wait(300) == 0
