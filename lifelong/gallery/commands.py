"""The commands of a gallery: create, declare, add, search, delete, compact, verify, stats."""

from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import tyro
from rich.table import Table

from cluster import storage
from cluster.console import console, print_result
from cluster.errors import InputError
from evaluation.features.files import read_features
from evaluation.features.table import Features
from lifelong.gallery.compaction import ORPHAN_SECONDS
from lifelong.gallery.gallery import Gallery
from lifelong.gallery.hits_file import hits_table, write_hits
from lifelong.gallery.searcher import Kind

PROGRAM = "python -m lifelong gallery"
Dir = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
File = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FEATURES")]
SHOWN_QUERIES, SHOWN_HITS = 5, 5


def create(gallery: Dir, *, size: int, model: str, note: str = "") -> None:
    """Begin a gallery.

    Args:
        gallery: A new folder or s3:// URL.
        size: Components of a feature.
        model: Fingerprint of the first model, as in column model_fingerprint of its features.
        note: What is to be known of the model.
    """
    made = Gallery.create(gallery, size=size, model_fingerprint=model, note=note)
    console.print(f"next: {PROGRAM} add {gallery} FEATURES", markup=False)
    print_result({"gallery": made.location, "size": size, "models": list(made.manifest.fingerprints)})


def declare(
    gallery: Dir,
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FINGERPRINT")],
    *,
    note: str = "",
) -> None:
    """Declare a model compatible with what is stored, normally after `python -m lifelong promote`.

    Args:
        gallery: A gallery.
        model: Fingerprint of the model.
        note: Why it is believed to be.
    """
    opened = Gallery.open(gallery)
    opened.declare(model, note=note)
    print_result({"gallery": opened.location, "models": list(opened.manifest.fingerprints)})


def add(gallery: Dir, features: File, *, splits: tuple[str, ...] = ("gallery",), again: bool = False) -> None:
    """Add the features of a file; the same rows are stored once, however often the command runs.

    Args:
        gallery: A gallery.
        features: A features file (Parquet or NPZ), from `python -m evaluation embed` or another toolbox.
        splits: Which of its rows.
        again: Whether to store rows once more that are there already.
    """
    opened = Gallery.open(gallery)
    found = _rows(features, splits)
    done = opened.add(found, source=storage.name_of(features), again=again)
    if done.is_repeat:
        console.print(f"these {len(found) - done.junk:,} images are stored already: nothing added", markup=False)
    else:
        console.print(f"{done.added:,} images added", markup=False)
    if done.junk:
        console.print(f"{done.junk:,} junk images (identity -1) left out")
    print_result({"gallery": opened.location, **asdict(done)})


def search(
    gallery: Dir,
    queries: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="QUERIES")],
    *,
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 10,
    split: str = "query",
    index: Kind | None = None,
    out: str = "",
    cache: str = "",
) -> None:
    """Find the most similar images for the queries of a features file.

    Args:
        gallery: A gallery.
        queries: A features file by one declared model.
        k: Hits per query.
        split: Which of its rows.
        index: flat compares with everything; ivf looks into the nearest cells, and its index is made when it is
            needed. By the size of the gallery unless given.
        out: A Parquet file for all hits.
        cache: Local folder of the index; DIR/index, or below ~/.cache for a URL, unless given.
    """
    opened = Gallery.open(gallery, cache=cache)
    found = _rows(queries, (split,))
    models = sorted(set(found.model_fingerprint))
    if len(models) > 1:
        raise InputError(f"{queries} has queries of {len(models)} models, {', '.join(models)}; give one file for each")
    hits = opened.search(found.feature, k, model_fingerprint=models[0], kind=index)
    table = hits_table(found, hits)
    if out:
        write_hits(storage.resolve(out), table)
    _show(table)
    best = table.filter(pa.array(np.asarray(table["rank"]) == 1))
    same = float(np.mean(np.asarray(best["identity"]) == np.asarray(best["query_identity"])))
    print_result(
        {
            "gallery": opened.location,
            "num_queries": len(found),
            "k": hits.item.shape[1],
            "first_hit_has_query_identity": same,
            **({"out": storage.resolve(out)} if out else {}),
        }
    )


def delete(gallery: Dir, *, identity: int, reason: str = "") -> None:
    """Take a person out of all searches, at once; compact removes the bytes.

    Args:
        gallery: A gallery.
        identity: Who.
        reason: Kept until compaction.
    """
    opened = Gallery.open(gallery)
    count = opened.delete(identity, reason=reason)
    console.print(f"{count:,} images are in no search any more\nnext: {PROGRAM} compact {gallery}", markup=False)
    print_result({"gallery": opened.location, "identity": identity, "deleted": count})


def compact(gallery: Dir, *, orphan_hours: float = ORPHAN_SECONDS / 3600, cache: str = "") -> None:
    """Remove the bytes of deleted people, and what interrupted commands have left.

    Args:
        gallery: A gallery.
        orphan_hours: Files that no manifest names are removed when they are so old: an add may be at work on others.
        cache: Local folder of the index, if it was given to search.
    """
    opened = Gallery.open(gallery, cache=cache)
    done = opened.compact(orphan_seconds=3600 * orphan_hours)
    for name in done.kept_orphans:
        console.print(f"kept: {name} (an add may be at work on it; --orphan-hours 0 removes it too)", markup=False)
    print_result({"gallery": opened.location, **asdict(done)})


def verify(gallery: Dir) -> None:
    """Check every byte of a gallery against its manifest.

    Args:
        gallery: A gallery.
    """
    opened = Gallery.open(gallery)
    _print_stats(opened.location, asdict(opened.verify()))


def stats(gallery: Dir) -> None:
    """Count what is in a gallery.

    Args:
        gallery: A gallery.
    """
    opened = Gallery.open(gallery)
    _print_stats(opened.location, asdict(opened.stats()))


def _rows(location: str, splits: tuple[str, ...]) -> Features:
    found = read_features(location)
    try:
        return found.select(*splits)
    except ValueError as error:
        raise InputError(f"{location}: {error}") from error


def _print_stats(location: str, found: dict[str, Any]) -> None:
    for name in found["orphans"]:
        console.print(f"orphan: {name} (an add is at work on it, or was interrupted; compact removes it)", markup=False)
    print_result({"gallery": location, **found})


def _show(hits: pa.Table) -> None:
    shown = Table(title=f"first hits of the first {SHOWN_QUERIES} queries", title_justify="left")
    for column in ("query", "rank", "similarity", "identity", "camera", "path", "model", "item"):
        shown.add_column(column)
    for row in hits.filter(pa.array(np.asarray(hits["query"]) < SHOWN_QUERIES)).to_pylist():
        if row["rank"] <= SHOWN_HITS:
            facts = (row["identity"], row["camera"], row["path"], row["model_fingerprint"], row["item"])
            name = row["query_path"] if row["rank"] == 1 else ""
            shown.add_row(name, str(row["rank"]), f"{row['similarity']:.3f}", *map(str, facts))
    console.print(shown, markup=False)
