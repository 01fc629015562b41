"""Several datasets as one: their queries pooled, their galleries pooled."""

from collections.abc import Mapping

import numpy as np

from cluster.errors import InputError
from evaluation.compatibility.sequence import DatasetScores, JointScores
from evaluation.features.table import Features
from evaluation.metrics.protocols import MARKET, Protocol
from evaluation.scoring.problem import keep_apart, make_problem
from evaluation.scoring.ranking import CosineMatcher
from evaluation.scoring.scores import score


def score_together(
    tables: Mapping[str, Features], *, protocol: Protocol = MARKET, is_mixed: bool = False, device: str = "cpu"
) -> JointScores:
    """Score the queries of all datasets against the galleries of all datasets.

    Identities and cameras of different datasets are never the same, even where their numbers are. The definition, as
    a loop::

        gallery = [image for table in tables for image in table if it is of the gallery]
        for name, table in tables:
            datasets[name] = mean(AP(query, gallery) for query in table if it counts), and likewise Rank-1

    Args:
        tables: Queries and gallery of each dataset, by its name.
        protocol: The rules.
        is_mixed: Whether the features are of several models that are meant to be compatible.
        device: Where distances are computed.

    Raises:
        InputError: If models are mixed and are not meant to be, features differ in size, the protocol draws its gallery
            from the queries, or the queries of a dataset have no match.
    """
    if protocol.gallery == "one-of-all-per-identity":
        raise InputError(
            f"{protocol.name} draws its gallery from the queries, and a stored gallery is not drawn; "
            f"use another protocol, such as {MARKET.name}"
        )
    try:
        images = keep_apart(list(tables.values()))
        images = images.take(np.argsort(images.split != "query", kind="stable"))  # each split a run, shared not copied
        declared = set(images.model_fingerprint) if is_mixed else ()
        problem = make_problem(images, protocol, declared=declared)
        result = score(problem, matcher=CosineMatcher(problem.images, device))
    except ValueError as error:
        raise InputError(f"{', '.join(tables)}: {error}") from error
    datasets, start = [], 0
    for name, table in tables.items():
        queries = slice(start, start + int((table.split == "query").sum()))
        precision_RQ, rank_RQ = result.average_precision[:, queries], result.first_match_rank[:, queries]
        counts_RQ = ~np.isnan(precision_RQ)
        num_queries = int(counts_RQ.any(axis=0).sum())
        if not num_queries:
            raise InputError(f"{name}: none of its queries has a match in the gallery; check identities and cameras")
        datasets.append(
            DatasetScores(
                name=name,
                num_queries=num_queries,
                mAP=float(precision_RQ[counts_RQ].mean()),
                rank1=float((rank_RQ[counts_RQ] == 1).mean()),
            )
        )
        start = queries.stop
    return JointScores(datasets=tuple(datasets))
