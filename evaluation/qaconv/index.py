"""Search for the nearest vectors of a gallery: faiss behind one check, that both sides come from the same model.

Shapes: Q queries, G gallery images, D components of a feature, K neighbours.
"""

import os
from typing import Any, Literal, get_args

import faiss
import numpy as np
from numpy.typing import NDArray

from cluster import storage
from cluster.errors import InputError
from evaluation.metrics.distances import blocks, check_features, unit_rows

Kind = Literal["flat", "ivf", "hnsw"]
"""``flat`` is exhaustive and exact; ``ivf`` looks into the nearest of many cells; ``hnsw`` walks a graph of neighbours,
is the fastest on a CPU, and keeps about 260 bytes an image beside the vectors."""

INDEX_FILE, DESCRIPTION_FILE = "index.faiss", "index.json"
TRAINING_POINTS = 39
"""A cell of an ivf index needs so many points; faiss warns below."""
LEAST_CELLS = 8
HNSW_NEIGHBOURS = 32
HNSW_EFFORT = 200
"""Candidates that are kept while the graph is built."""


class GalleryIndex:
    """Gallery vectors of one model, scaled to norm 1, searched by inner product. Row numbers are those of the gallery.

    On a machine with GPUs ``flat`` and ``ivf`` search there; faiss has no graph search on GPUs.
    """

    def __init__(self, index: Any, *, kind: Kind, model_fingerprint: str, parameters: dict[str, int]) -> None:
        self._index = _on_gpus(index) if kind != "hnsw" else index
        self.kind: Kind = kind
        self.model_fingerprint = model_fingerprint
        self.parameters = parameters
        """What the kind was built with."""

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def size(self) -> int:
        """Components D of a vector."""
        return int(self._index.d)

    @classmethod
    def build(cls, feature_GD: NDArray[np.float32], *, model_fingerprint: str, kind: Kind = "flat") -> "GalleryIndex":
        """Build an index.

        Args:
            feature_GD: Vectors of any norm but 0.
            model_fingerprint: Which weights made them.
            kind: See `Kind`. An ivf index has about ``4 sqrt(G)`` cells, fewer where they would not be filled, and
                looks into an eighth of them, at least 8.

        Raises:
            InputError: If there are no vectors, one is zero or not finite, the kind is unknown, or there are too few
                vectors to train an ivf index.
        """
        check_features(feature_GD, "gallery")
        index, parameters = _make(kind, *feature_GD.shape)
        if kind == "ivf":
            index.train(unit_rows(feature_GD))
        for rows in blocks(feature_GD):
            index.add(np.ascontiguousarray(unit_rows(feature_GD[rows])))
        return cls(index, kind=kind, model_fingerprint=model_fingerprint, parameters=parameters)

    def search(
        self, query_QD: NDArray[np.float32], k: int, *, model_fingerprint: str
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the K nearest vectors of each query.

        Equal similarities come in whichever order faiss finds them, which is not always that of the rows.

        Args:
            query_QD: Vectors of any norm but 0.
            k: 1 to G; faiss finds at most 2048 on a GPU.
            model_fingerprint: Which weights made the queries; others than the gallery's are refused.

        Returns:
            Cosine similarities, float32 [Q, K], largest first, and gallery rows, int64 [Q, K]. An ``ivf`` or ``hnsw``
            index may find fewer: such lists end in -inf and -1.

        Raises:
            InputError: If the queries come from another model, have another size, are zero or not finite, or k is out
                of range.
        """
        if model_fingerprint != self.model_fingerprint:
            raise InputError(
                f"the index holds features of model {self.model_fingerprint} and the queries come from "
                f"{model_fingerprint}; embed them with the same model"
            )
        check_features(query_QD, "query")
        if query_QD.shape[1] != self.size:
            raise InputError(f"queries have {query_QD.shape[1]} components and the index {self.size}")
        if not 1 <= k <= len(self):
            raise InputError(f"k must be 1 to {len(self)}, the images of the gallery, got {k}")
        if self.kind == "hnsw":
            self._index.hnsw.efSearch = max(64, 2 * k)
        similarity_QK, row_QK = self._index.search(np.ascontiguousarray(unit_rows(query_QD)), k)
        similarity_QK[row_QK < 0] = -np.inf
        return similarity_QK, row_QK

    def save(self, location: str) -> None:
        """Write the index as a folder, whole or not at all; an index that was there before is replaced.

        Raises:
            InputError: If the folder holds something else.
        """
        description = {
            "kind": self.kind,
            "model_fingerprint": self.model_fingerprint,
            "size": self.size,
            "count": len(self),
            "parameters": self.parameters,
        }
        with storage.folder_to_publish(storage.resolve(location), replaces=DESCRIPTION_FILE) as folder:
            index = self._index if isinstance(self._index, _CPU_KINDS) else faiss.index_gpu_to_cpu(self._index)
            faiss.write_index(index, os.path.join(folder, INDEX_FILE))
            storage.write_json(os.path.join(folder, DESCRIPTION_FILE), description)

    @classmethod
    def load(cls, location: str) -> "GalleryIndex":
        """Read an index that `save` wrote.

        Raises:
            InputError: If there is none, or its files do not belong together.
        """
        location = storage.resolve(location)
        if not storage.exists(storage.join(location, DESCRIPTION_FILE)):
            raise InputError(f"{location}: no {DESCRIPTION_FILE} there; it should be the folder of a gallery index")
        description = storage.read_json(storage.join(location, DESCRIPTION_FILE))
        try:
            with storage.local_copy(storage.join(location, INDEX_FILE)) as path:
                index = faiss.read_index(path)
            found = {"size": index.d, "count": index.ntotal}
            if any(description[name] != value for name, value in found.items()):
                raise InputError(f"{INDEX_FILE} has {found} and {DESCRIPTION_FILE} says otherwise")
            kind, parameters = description["kind"], description["parameters"]
            if not isinstance(index, dict(zip(get_args(Kind), _CPU_KINDS, strict=True))[kind]):
                raise InputError(f"{INDEX_FILE} holds {type(index).__name__} and not the index of kind {kind}")
            return cls(
                index, kind=kind, model_fingerprint=description["model_fingerprint"], parameters=dict(parameters)
            )
        except (RuntimeError, OSError, KeyError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{location} is not a usable gallery index ({reason}); build it again") from error


_CPU_KINDS = (faiss.IndexFlat, faiss.IndexIVFFlat, faiss.IndexHNSWFlat)
"""What faiss makes and reads, in the order of `Kind`."""


def _make(kind: Kind, count: int, size: int) -> tuple[Any, dict[str, int]]:
    """Return an empty index and its parameters."""
    metric = faiss.METRIC_INNER_PRODUCT
    if kind == "flat":
        return faiss.IndexFlat(size, metric), {}
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(size, HNSW_NEIGHBOURS, metric)
        index.hnsw.efConstruction = HNSW_EFFORT
        return index, {"neighbours": HNSW_NEIGHBOURS, "effort": HNSW_EFFORT}
    if kind != "ivf":
        raise InputError(f"an index is one of {', '.join(get_args(Kind))}, got {kind}")
    num_cells = min(round(4 * count**0.5), count // TRAINING_POINTS)
    if num_cells < LEAST_CELLS:
        raise InputError(
            f"an ivf index needs at least {LEAST_CELLS * TRAINING_POINTS} images to train on, got {count}; use flat"
        )
    index = faiss.IndexIVFFlat(faiss.IndexFlat(size, metric), size, num_cells, metric)
    index.nprobe = max(8, num_cells // 8)
    return index, {"cells": num_cells, "probes": index.nprobe}


def _on_gpus(index: Any) -> Any:
    return faiss.index_cpu_to_all_gpus(index) if faiss.get_num_gpus() > 0 else index
