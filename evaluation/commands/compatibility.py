"""``python -m evaluation compatibility``: a new model against the old gallery."""

from typing import Annotated

import tyro

from cluster import storage
from cluster.console import console, print_result
from evaluation.compatibility.update import explain_update, score_update, summarise_update, update_table
from evaluation.features.files import read_features
from evaluation.metrics.protocols import find_protocol
from evaluation.scoring.scores import BootstrapConfig

Bootstrap = Annotated[BootstrapConfig, tyro.conf.OmitArgPrefixes]
USUAL = BootstrapConfig()


def compatibility(
    old: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OLD")],
    new: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NEW")],
    *,
    protocol: str = "market",
    bootstrap: Bootstrap = USUAL,
) -> None:
    """Say before a release whether a new model's queries work against the gallery that the old model stored.

    Args:
        old: A features file of queries and gallery by the old model.
        new: One of the same queries by the new model; with the same gallery too, it says what extracting that anew
            would give.
        protocol: The rules; see `score`.
        bootstrap: How sure one may be.
    """
    result = score_update(read_features(old), read_features(new), find_protocol(protocol), bootstrap)
    title = (
        f"{storage.name_of(old)} to {storage.name_of(new)}, {protocol} protocol, {result.old_old.num_queries:,} queries"
    )
    console.print(update_table(result, title))
    console.print(explain_update(result))
    print_result(summarise_update(result))
