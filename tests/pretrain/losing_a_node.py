"""A program: an elastic run on a small cluster that loses a whole node in the middle. The test reads what it prints."""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.processes import UNGUARDED

# Before Ray is imported: how soon it notes that a node is lost (five times nobody answers), and how long it waits for
# that node's workers before it asks for fewer.
os.environ |= {
    "RAY_health_check_period_ms": "1000",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10",
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "20",
    **UNGUARDED,
}

import ray.train
from ray.cluster_utils import Cluster

import pretrain.training.ray_train
from pretrain.config.scale import scaled
from pretrain.runs import train
from pretrain.training.isr_learner import IsrLearner
from pretrain.training.ray_train import train_loop
from tests.pretrain.test_runs import CONFIG

STEP = 6
"""Before this one the node goes, after the checkpoint of step 4."""


def waiting_loop(folder: Path) -> Any:
    """The real loop; every worker notes how many they are, and two of them wait before a step to be killed."""

    def loop(settings: dict[str, Any]) -> None:
        size = ray.train.get_context().get_world_size()
        (folder / f"size-{size}").touch()
        take_step = IsrLearner.step

        def patient(self: Any, batch: Any, number: int) -> Any:
            if number == STEP and size == 2:
                (folder / "waiting").touch()
                time.sleep(600)
            return take_step(self, batch, number)

        IsrLearner.step = patient
        train_loop(settings)

    return loop


def main(clips: str, out: str, folder: str) -> None:
    """Train on two nodes with a worker each, of which the head has one CPU more; take the other away."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3})
    lost = cluster.add_node(num_cpus=2)
    os.environ["RAY_ADDRESS"] = cluster.address
    pretrain.training.ray_train.train_loop = waiting_loop(Path(folder))
    found: list[Any] = []
    run = threading.Thread(target=lambda: found.append(train(scaled(CONFIG, workers=2, min_workers=1), clips, out)))
    run.start()
    while not Path(folder, "waiting").exists():
        time.sleep(0.2)
        assert run.is_alive(), "it ended by itself"
    cluster.remove_node(lost, allow_graceful=False)
    run.join()
    sizes = [size for size in (2, 1) if Path(folder, f"size-{size}").exists()]
    print(json.dumps({"step": found[0]["step"], "sizes": sizes}), flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
