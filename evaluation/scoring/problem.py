"""Queries and a gallery: what a protocol makes of features files."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError
from evaluation.features.apart import apart
from evaluation.features.files import read_features
from evaluation.features.table import Features, concatenate
from evaluation.metrics.counting import JUNK_IDENTITY, Labels
from evaluation.metrics.protocols import Protocol


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Problem:
    """Who is to be found, and where."""

    images: Features
    """All rows of the files, whatever their split."""
    query_rows: NDArray[np.int64]
    """Rows of the images that are queries."""
    gallery_rows: NDArray[np.int64]
    query: Features
    gallery: Features
    protocol: Protocol

    @property
    def labels(self) -> Labels:
        """Identities and cameras."""
        return Labels(
            query_identity=self.query.identity,
            gallery_identity=self.gallery.identity,
            query_camera=self.query.camera,
            gallery_camera=self.gallery.camera,
        )


def read_problem(locations: Sequence[str], protocol: Protocol) -> Problem:
    """Read features files: one, or under ``joint`` one of each dataset.

    Raises:
        InputError: If a file is missing or wrong, lacks queries or a gallery, models are mixed, or the number of files
            is not what the protocol wants.
    """
    if not locations:
        raise InputError("give at least one features file; write one with: python -m evaluation embed")
    if (protocol.name == "joint") != (len(locations) > 1):
        wants = "the files of several datasets" if protocol.name == "joint" else "one file"
        raise InputError(f"the {protocol.name} protocol scores {wants}, got {len(locations)}; see --protocol joint")
    tables = [read_features(location) for location in locations]
    try:
        return make_problem(tables[0] if len(tables) == 1 else keep_apart(tables), protocol)
    except ValueError as error:
        raise InputError(f"{', '.join(locations)}: {error}") from error


def make_problem(images: Features, protocol: Protocol, *, declared: Collection[str] = ()) -> Problem:
    """Choose queries and gallery among images, by their split (see `Protocol.gallery`).

    Args:
        images: Queries, gallery, and whatever else.
        protocol: The rules.
        declared: Fingerprints of models that were trained to be compatible: features of theirs may be mixed.

    Raises:
        InputError: If queries or a gallery are missing, or models are mixed of which one is not declared.
    """
    if protocol.gallery == "one-of-all-per-identity":
        query_rows = gallery_rows = images.rows_of(*(split for split in ("query", "gallery") if split in images.split))
    else:
        query_rows, gallery_rows = images.rows_of("query"), images.rows_of("gallery")
    query, gallery = images.take(query_rows), images.take(gallery_rows)
    models = sorted({*query.model_fingerprint, *gallery.model_fingerprint})
    if len(models) > 1 and not set(models) <= set(declared):
        raise InputError(
            f"the features come from {len(models)} models ({', '.join(models)}), which cannot be compared; "
            "embed all images with one model, or name all of these in make_problem(declared=...) if they were trained "
            "to be compatible (see python -m evaluation compatibility --help)"
        )
    return Problem(
        images=images,
        query_rows=query_rows,
        gallery_rows=gallery_rows,
        query=query,
        gallery=gallery,
        protocol=protocol,
    )


def keep_apart(tables: Sequence[Features]) -> Features:
    """Put several datasets into one: identities and cameras are numbered anew, so that none is in two datasets.

    Junk (-1) and distractors (0) stay what they are.
    """
    moved, next_camera = [], 0
    for number, table in enumerate(tables):
        is_person = table.identity > 0
        # From 1 within a dataset first: another tool's may be any numbers.
        own = np.minimum(table.identity, 0)
        own[is_person] = np.unique(table.identity[is_person], return_inverse=True)[1] + 1
        cameras, camera = np.unique(table.camera, return_inverse=True)
        moved.append(replace(table, identity=apart(own, number), camera=camera + next_camera))
        next_camera += len(cameras)
    assert JUNK_IDENTITY == -1
    return concatenate(moved)
