"""What a search found as a table: one row per query and hit.

=================  =======  ================================================
column             type     meaning
=================  =======  ================================================
query              int64    row of the query
query_path         string   its image
query_identity     int64    who is in it, as its file says; -1 is unknown
rank               int64    from 1
item               int64    id of the hit, which never changes
similarity         float32  cosine, -1 to 1
identity           int64
camera             int64
time_seconds       float64  on a clock of the camera; null is unknown
path               string
model_fingerprint  string   which model made the stored feature
=================  =======  ================================================
"""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster import storage
from evaluation.features.table import Features
from lifelong.gallery.search import FACTS, NO_ITEM, Hits


def hits_table(queries: Features, hits: Hits) -> pa.Table:
    """Return the hits as a table, ordered by query and rank; lists that are too short end early."""
    query_N, place_N = np.nonzero(hits.item != NO_ITEM)
    columns = {
        "query": query_N,
        "query_path": pa.array(queries.path[query_N], pa.string()),
        "query_identity": queries.identity[query_N],
        "rank": place_N + 1,
        "item": hits.item[query_N, place_N],
        "similarity": hits.similarity[query_N, place_N],
    }
    for name in FACTS:
        kind = pa.string() if name in ("path", "model_fingerprint") else None
        columns[name] = pa.array(getattr(hits, name)[query_N, place_N], kind, from_pandas=True)
    return pa.table(columns)


def write_hits(location: str, table: pa.Table) -> None:
    """Write the table as Parquet, whole or not at all."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    storage.write_bytes(location, buffer.getvalue())
