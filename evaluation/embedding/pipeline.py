"""Embed a dataset on a Ray cluster: rows in, a pool of model actors, features out.

Columns that travel, one row per image:

=======  ==============  ====================================================================
column   dtype, shape    meaning
=======  ==============  ====================================================================
row      int64           which row of the dataset; rows arrive in any order and are put back
path     string          the image (only towards the actors)
feature  float32 [D]     the embedding (only from the actors)
map      float16 [L, C]  the feature map (only from the actors, only where maps are asked for)
problem  string          empty, or why the image could not be read (only from the actors)
=======  ==============  ====================================================================
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import ray.data
from numpy.typing import NDArray

from cluster import session
from cluster.console import progress_bar
from cluster.errors import InputError
from cluster.resources import Demand, check_fits
from evaluation.datasets.images import read_image
from evaluation.datasets.rows import ImageRow
from evaluation.embedding.embedder import Embedder, MapEmbedder
from evaluation.embedding.label_rows import label_rows
from evaluation.features.table import Features

READING_THREADS = 8
"""Files read at once by one actor, so that an object store's delay is paid once for many images."""

MAX_BLOCKS = 2000
"""More blocks than this cost Ray more bookkeeping than they help the balance."""


class EmbedImages:
    """A batch of paths to a batch of features; one instance, and so one model, per actor."""

    def __init__(self, make_embedder: Callable[[], Embedder], with_maps: bool = False) -> None:
        self.embedder = make_embedder()
        self.with_maps = with_maps
        self.readers = ThreadPoolExecutor(READING_THREADS)

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Embed the images that can be read, and say of the others why not."""
        outcomes = list(self.readers.map(_try_to_read, batch["path"]))
        readable = [row for row, (_, problem) in enumerate(outcomes) if not problem]
        features = np.full((len(outcomes), self.embedder.embedding_size), np.nan, np.float32)
        embedded = {"row": batch["row"], "feature": features}
        images = [outcomes[row][0] for row in readable]
        if self.with_maps:
            embedder = with_map_shape(self.embedder)
            height, width, channels = embedder.map_shape
            embedded["map"] = np.zeros((len(outcomes), height * width, channels), np.float16)
            if readable:
                features[readable], embedded["map"][readable] = embedder.embed_with_maps(images)
        elif readable:
            features[readable] = self.embedder.embed(images)
        return embedded | {"problem": np.array([problem for _, problem in outcomes], object)}


def with_map_shape(embedder: Embedder) -> MapEmbedder:
    """Return the embedder as one that gives feature maps.

    Raises:
        InputError: If it does not.
    """
    if not isinstance(embedder, MapEmbedder):
        raise InputError(f"the model {embedder.fingerprint} gives no feature maps; leave --maps out, or name another")
    return embedder


def _try_to_read(path: str) -> tuple[NDArray[np.uint8], str]:
    """Return the image and an empty problem, or no pixels and the problem: an exception would lose the whole batch."""
    try:
        return read_image(path), ""
    except ValueError as error:
        return np.zeros((0, 0, 3), np.uint8), str(error)


def embed_dataset(
    rows: Sequence[ImageRow],
    make_embedder: Callable[[], Embedder],
    *,
    num_workers: int,
    batch_size: int,
    cpus_per_worker: float = 1.0,
    gpus_per_worker: float = 0.0,
    write_maps: Callable[[NDArray[np.int64], NDArray[np.float16]], None] | None = None,
) -> Features:
    """Embed the images of a dataset on the Ray cluster that is connected (see `cluster.session`).

    Args:
        rows: The images, at least one.
        make_embedder: Builds the model, once here for its name and once in every worker; must be picklable.
        num_workers: Actors, each with a model of its own, >= 1.
        batch_size: Images that a model sees at once, >= 1.
        cpus_per_worker: Logical CPUs that each actor reserves.
        gpus_per_worker: GPUs that each actor reserves; a fraction lets actors share one.
        write_maps: Takes rows of the dataset, in any order, and their feature maps [n, L, C], as they come.

    Returns:
        Features in the order of the rows.

    Raises:
        InputError: If an image cannot be read (names the file), the cluster is too small, or a number is out of range.
    """
    if not rows:
        raise InputError("there are no images to embed; give a dataset with at least one")
    if num_workers < 1 or batch_size < 1:
        raise InputError(f"workers and batch size must be >= 1, got {num_workers} and {batch_size}")
    num_workers = min(num_workers, -(-len(rows) // batch_size))
    pool = Demand(
        what="embedding workers", count=num_workers, cpus=cpus_per_worker, gpus=gpus_per_worker, remedy="--workers"
    )
    embedder = make_embedder()
    if write_maps:
        with_map_shape(embedder)
    check_fits([pool], session.total_resources())
    dataset = ray.data.from_items(
        [{"row": number, "path": row.path} for number, row in enumerate(rows)],
        override_num_blocks=min(MAX_BLOCKS, -(-len(rows) // batch_size)),
    ).map_batches(
        EmbedImages,
        fn_constructor_kwargs={"make_embedder": make_embedder, "with_maps": write_maps is not None},
        batch_size=batch_size,
        compute=ray.data.ActorPoolStrategy(size=num_workers),
        num_cpus=cpus_per_worker,
        num_gpus=gpus_per_worker,
    )
    feature = _collect(dataset, len(rows), embedder.embedding_size, write_maps)
    return label_rows(rows, feature, embedder.fingerprint)


def _collect(
    dataset: ray.data.Dataset,
    num_rows: int,
    embedding_size: int,
    write_maps: Callable[[NDArray[np.int64], NDArray[np.float16]], None] | None,
) -> NDArray[np.float32]:
    """Run the dataset, put every feature into its row, float32 [N, D], and pass the maps on."""
    feature = np.zeros((num_rows, embedding_size), np.float32)
    is_filled = np.zeros(num_rows, bool)
    with progress_bar() as progress:
        task = progress.add_task("embedding images", total=num_rows, note="")
        for received in dataset.iter_batches(batch_size=None, batch_format="numpy"):
            batch = cast("dict[str, NDArray[Any]]", received)
            problems = [problem for problem in batch["problem"] if problem]
            if problems:
                raise InputError(problems[0])
            feature[batch["row"]] = batch["feature"]
            is_filled[batch["row"]] = True
            if write_maps:
                write_maps(batch["row"], batch["map"])
            progress.update(task, completed=int(is_filled.sum()))
    assert is_filled.all(), f"Ray returned {is_filled.sum()} of {num_rows} rows"
    return feature
