"""Which identities look alike, as the learning model sees them: the graph sampler's order of an epoch.

Liao and Shao, "Graph Sampling Based Deep Metric Learning for Generalizable Person Re-Identification", CVPR 2022. The
distance is that of the model's matching branch where it has one, and the cosine of embeddings otherwise.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from cluster import storage
from evaluation.datasets.images import read_image
from evaluation.qaconv.scores import self_scores
from lifelong.data.orders import order_file
from lifelong.data.samplers import classes_of
from lifelong.data.sampling import graph_batches
from lifelong.models.network import LifelongModel
from lifelong.stages.config import StageConfig
from pretrain.data.augment import resize
from pretrain.distributed import collectives

IMAGES_AT_ONCE = 128


class ClassGraph:
    """Writes the order of an epoch."""

    def __init__(self, config: StageConfig, path: list[str], label_N: NDArray[np.int64], folder: str) -> None:
        self.config = config
        self.path = path
        self.classes = classes_of(label_N)
        self.folder = folder

    def write(self, epoch: int, model: LifelongModel, device: torch.device) -> None:
        """Write the order of an epoch, once: one image of each identity, its nearest identities, shuffled steps.

        The first process writes; the others get their samples when it has. A resumed stage keeps the orders that its
        samples were drawn by.
        """
        location = order_file(self.folder, epoch)
        if collectives.rank() != 0 or storage.exists(location):
            return
        rng = np.random.default_rng((self.config.seed, epoch, 0x64A9))
        chosen = [int(rng.choice(rows)) for rows in self.classes]
        distance_CC = self._distances(chosen, model, device)
        batches = graph_batches(distance_CC, self.config.batch_identities, rng=rng)
        storage.write_json(location, [number for batch in batches for number in batch])

    @torch.no_grad()
    def _distances(self, chosen: list[int], model: LifelongModel, device: torch.device) -> NDArray[np.float32]:
        was_training = model.training
        model.eval()
        found: list[torch.Tensor] = []
        for start in range(0, len(chosen), IMAGES_AT_ONCE):
            pixels = [read_image(self.path[row]) for row in chosen[start : start + IMAGES_AT_ONCE]]
            images = resize(pixels, self.config.model.height, self.config.model.width).to(device)
            outputs = model.outputs(images)
            found.append((outputs.embedding_BD if outputs.map_BKHW is None else outputs.map_BKHW).float().cpu())
        model.train(was_training)
        features = torch.cat(found)
        if model.matching is None:
            return (1 - features @ features.T).numpy()
        map_NLC = features.flatten(2).transpose(1, 2).contiguous().numpy()
        return -self_scores(map_NLC, model.matching.head(), device=device.type)
