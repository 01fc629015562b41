"""One update of a model, before release: do the new model's queries work against the stored gallery?"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table

from cluster.errors import InputError
from evaluation.compatibility.measures import update_gain
from evaluation.features.table import Features, concatenate
from evaluation.metrics.bootstrap import Difference, paired_differences
from evaluation.metrics.protocols import Protocol
from evaluation.metrics.retrieval import RetrievalResult
from evaluation.scoring.comparison import align
from evaluation.scoring.problem import make_problem
from evaluation.scoring.scores import NAMES, BootstrapConfig, score, scores_of, summarise


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class UpdateResult:
    """Scores of the same queries, embedded by an old and by a new model."""

    old_old: RetrievalResult
    """Old queries, old gallery: what there is."""
    new_old: RetrievalResult
    """New queries, old gallery: the update without extracting the gallery anew."""
    new_new: RetrievalResult | None
    """New queries, new gallery: the full update; None where no new gallery was extracted."""
    differences: dict[str, Difference]
    """Of new_old - old_old, by score, paired by query."""

    @property
    def gain(self) -> float:
        """Update gain of mAP (see `update_gain`), the paragon being new_new; NaN if that is not known or no better."""
        if self.new_new is None:
            return float("nan")
        return update_gain(self.new_old.mAP, self.old_old.mAP, self.new_new.mAP)

    @property
    def is_compatible(self) -> bool:
        """Whether the new queries beat the old ones against the old gallery (mAP; Shen et al., CVPR 2020)."""
        return self.new_old.mAP > self.old_old.mAP


def score_update(old: Features, new: Features, protocol: Protocol, bootstrap: BootstrapConfig) -> UpdateResult:
    """Score an update of a model; images are joined by their paths.

    Args:
        old: Queries and gallery by the old model.
        new: The same queries by the new model, and the same gallery if it was embedded.
        protocol: The rules.
        bootstrap: How the interval is made.

    Raises:
        InputError: If images or the sizes of features differ, a file mixes models, the protocol draws its gallery from
            the queries, or there are no resamples.
    """
    if protocol.gallery == "one-of-all-per-identity":
        raise InputError(f"{protocol.name} draws its gallery from the queries; use another protocol, such as market")
    if not bootstrap.resamples:
        raise InputError("the interval needs --resamples >= 1; 1000 is usual")
    reference = make_problem(old, protocol)
    queries = new.select("query")
    fingerprints = sorted(set(queries.model_fingerprint))
    if len(fingerprints) > 1:
        raise InputError(
            f"the new queries come from {len(fingerprints)} models ({', '.join(fingerprints)}); embed them with one"
        )
    declared = {*fingerprints, *reference.gallery.model_fingerprint}
    crossed = make_problem(concatenate([queries, reference.gallery]), protocol, declared=declared)
    old_old, new_old = score(reference), score(align(crossed, reference))
    has_gallery = (new.split == "gallery").any()
    return UpdateResult(
        old_old=old_old,
        new_old=new_old,
        new_new=score(align(make_problem(new, protocol), reference)) if has_gallery else None,
        differences=paired_differences(new_old, old_old, num_resamples=bootstrap.resamples, seed=bootstrap.seed),
    )


def summarise_update(result: UpdateResult) -> dict[str, Any]:
    """Return what programs read; fractions of 1, null where not known."""
    return {
        "is_compatible": result.is_compatible,
        "update_gain": None if np.isnan(result.gain) else result.gain,
        "differences": {name: asdict(found) for name, found in result.differences.items()},
        "old_old": summarise(result.old_old),
        "new_old": summarise(result.new_old),
        "new_new": summarise(result.new_new) if result.new_new else None,
    }


def update_table(result: UpdateResult, title: str) -> Table:
    """Return the scores as people read them: percent with one decimal."""
    shown = Table(title=title, title_justify="left")
    for column in ("queries", "gallery", *NAMES.values()):
        shown.add_column(column, justify="left" if column in ("queries", "gallery") else "right")
    rows = (("old", "old", result.old_old), ("new", "old", result.new_old), ("new", "new", result.new_new))
    for query, gallery, scores in rows:
        if scores is not None:
            shown.add_row(query, gallery, *(f"{100 * value:.1f} %" for value in scores_of(scores).values()))
    return shown


def explain_update(result: UpdateResult) -> str:
    """Say in words what the scores mean."""
    found = result.differences["mAP"]
    interval = f"{100 * found.interval.low:+.2f} to {100 * found.interval.high:+.2f}"
    lines = [
        f"compatible: {'yes' if result.is_compatible else 'no'}; against the stored gallery the new queries reach "
        f"{100 * found.difference:+.2f} points of mAP (95 % interval {interval}) relative to the old ones"
    ]
    if result.new_new is None:
        lines.append("update gain: not known; embed the gallery with the new model too, to know it")
    elif np.isnan(result.gain):
        change = 100 * (result.new_new.mAP - result.old_old.mAP)
        lines.append(f"update gain: none to be had, extracting the gallery anew changes mAP by {change:+.2f} points")
    else:
        lines.append(
            f"update gain: {100 * result.gain:.1f} % of the {100 * (result.new_new.mAP - result.old_old.mAP):+.2f} "
            "points that extracting the gallery anew gives"
        )
    return "\n".join(lines)
