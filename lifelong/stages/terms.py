"""The terms of a stage's loss by name: the one list that configuration, objective and network know. No torch.

A term is a function of `lifelong.training.batch_view.BatchView` that returns a scalar. A new one costs its function,
with its formula in a file of its own, a line here and its weight in `LossConfig`; one from outside the tree costs none
of these: ``--loss.extra package.module:TERM=0.5``.
"""

from dataclasses import dataclass

from cluster.extensions import Entry, Table

NEEDED = {
    "teacher": "the last stage's network on the same images",
    "bank": "frozen features of earlier stages",
    "classifier before": "the classifier as it was when the stage began",
    "parts": "a part head, of which it learns",
    "matching": "a matching branch, of which it learns",
    "classifier": "the classifier, of which it learns",
}
"""What a term may need. What comes from earlier stages is not there in the first: such a term begins in the second."""
LATER = ("teacher", "bank", "classifier before")
"""What the first stage does not have."""
_HERE = "lifelong.training.terms"


@dataclass(frozen=True, slots=True)
class Term(Entry):
    """A line of the table."""

    weight: str = ""
    """Path of its weight in `LossConfig`, if it is not the term's name."""


TERMS: Table = Table(
    "term of the loss",
    {
        "identity": Term(f"{_HERE}:identity", needs=("classifier",)),
        "triplet": Term(f"{_HERE}:triplet"),
        "compatibility": Term(f"{_HERE}:compatibility", needs=("bank",)),
        "influence": Term(f"{_HERE}:influence", needs=("classifier before",)),
        "parts": Term(f"{_HERE}:parts", needs=("parts",)),
        "matching": Term(f"{_HERE}:matching", needs=("matching",), weight="matching.pairwise"),
        "matching_triplet": Term(f"{_HERE}:matching_triplet", needs=("matching",), weight="matching.triplet"),
        "class_memory": Term(f"{_HERE}:class_memory", needs=("matching",), weight="matching.class_memory"),
        "metric": Term(f"{_HERE}:metric", weight="episode.metric"),
        "prototype_distillation": Term(
            f"{_HERE}:prototype_distillation", needs=("teacher",), weight="episode.distillation"
        ),
        "logit_distillation": Term(f"{_HERE}:logit_distillation", needs=("teacher", "classifier")),
        "relation_distillation": Term(f"{_HERE}:relation_distillation", needs=("teacher",)),
        "consolidation": Term(f"{_HERE}:consolidation", needs=("teacher", "parts")),
    },
    wanted="a function of lifelong.training.batch_view.BatchView that returns a scalar",
    words=NEEDED,
)


def weight_paths() -> dict[str, str]:
    """Return where the weight of each term of the table is in `LossConfig`."""
    return {name: TERMS.line(name).weight or name for name in TERMS}
