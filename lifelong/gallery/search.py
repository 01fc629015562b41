"""Exact search by streaming over shards, and looking up single items in them.

Shapes: Q queries, D components of a feature, K hits, U distinct items, B rows of a block.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.console import meter
from lifelong.gallery.manifest import Manifest, Shard
from lifelong.gallery.shards import matrix_of, open_shard, read_blocks

FACTS = ("identity", "camera", "time_seconds", "path", "model_fingerprint")
NO_ITEM = -1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Hits:
    """What queries found, the most similar first; [Q, K] each.

    A search that is not exhaustive may find fewer than K: such lists end in similarity -inf and item -1.
    """

    similarity: NDArray[np.float32]
    """Cosine, -1 to 1."""
    item: NDArray[np.int64]
    identity: NDArray[np.int64]
    camera: NDArray[np.int64]
    time_seconds: NDArray[np.float64]
    """On a clock of the camera; NaN is unknown."""
    path: NDArray[np.object_]
    model_fingerprint: NDArray[np.object_]
    """Which model made the stored feature."""


def search_flat(
    location: str, manifest: Manifest, query_QD: NDArray[np.float32], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Compare queries with every item, a block of a shard at a time.

    The definition, as a loop::

        for q in range(Q):
            found = [(query[q] @ item.feature, item) for item in gallery if it is not deleted]
            similarity[q], item[q] = the K largest, largest first

    Equal similarities come in any order.

    Args:
        location: Of the gallery.
        manifest: Of the gallery.
        query_QD: Queries of norm 1.
        k: 1 to the number of items.

    Returns:
        Cosine similarities, float32 [Q, K], and item ids, int64 [Q, K].
    """
    best = faiss.ResultHeap(len(query_QD), k, keep_max=True)
    deleted = manifest.deleted_items()
    with meter("searching", manifest.num_rows) as advance:
        for shard in manifest.shards:
            for batch in read_blocks(location, shard, ["feature"], size=manifest.size, without=deleted):
                item_B, feature_BD = batch["item"].to_numpy(), matrix_of(batch["feature"], manifest.size)
                similarity, row = faiss.knn(
                    query_QD, feature_BD, min(k, len(item_B)), metric=faiss.METRIC_INNER_PRODUCT
                )
                best.add_result(similarity, item_B[row])
            advance(shard.num_rows)
    best.finalize()
    return best.D, best.I


def look_up(location: str, manifest: Manifest, item_U: NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
    """Read some columns of some items; of the shards, only the row groups that hold them are read.

    Args:
        location: Of the gallery.
        manifest: Of the gallery.
        item_U: Distinct items, ascending.
        columns: Which.

    Returns:
        One row per item, in their order.
    """
    shards = sorted(manifest.shards, key=lambda shard: shard.first_item)
    first_S = np.array([shard.first_item for shard in shards], np.int64)
    owner_U = np.searchsorted(first_S, item_U, side="right") - 1
    parts = [
        _rows_of(location, shards[owner], item_U[owner_U == owner] - shards[owner].item_offset, list(columns))
        for owner in np.unique(owner_U)
    ]
    return pa.concat_tables(parts)


def _rows_of(location: str, shard: Shard, row_N: NDArray[np.int64], columns: list[str]) -> pa.Table:
    """Read rows of a shard by their values of ``row``, ascending."""
    with open_shard(location, shard) as file:
        place_N = row_N
        if shard.last_item - shard.first_item + 1 > shard.num_rows:  # compaction has left gaps
            place_N = np.searchsorted(file.read(["row"])["row"].to_numpy(), row_N)
        end_G = np.cumsum([file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)])
        group_N = np.searchsorted(end_G, place_N, side="right")
        tables = []
        for group in np.unique(group_N):
            start = end_G[group - 1] if group else 0
            whole = file.read_row_group(int(group), columns=columns, use_threads=False)
            tables.append(whole.take(pa.array(place_N[group_N == group] - start)))
    return pa.concat_tables(tables)


def describe(table: pa.Table, item_U: NDArray[np.int64], item_QK: NDArray[np.int64]) -> dict[str, NDArray]:
    """Return the facts of hits, [Q, K] each, from what `look_up` gave for their distinct items."""
    place_QK = np.searchsorted(item_U, item_QK).clip(max=max(len(item_U) - 1, 0))
    is_none = item_QK == NO_ITEM
    nothing = {"identity": -1, "camera": -1, "time_seconds": np.nan, "path": "", "model_fingerprint": ""}
    facts = {}
    for name in FACTS:
        values = np.asarray(table[name].to_numpy())
        if name == "time_seconds":
            values = values.astype(np.float64)  # null becomes NaN
        found = values[place_QK] if len(item_U) else np.full(item_QK.shape, nothing[name], values.dtype)
        found[is_none] = nothing[name]
        facts[name] = found
    return facts
