"""The reliabilities by name: the one list that the loss, the audit, the demo and the command line know. No torch."""

from collections.abc import Collection

from cluster.errors import InputError
from cluster.extensions import Entry, Table

NEEDED = {
    "boxes": "crops that know their boxes",
    "truth": "true boxes (--truth truth.csv)",
    "probabilities": "the loss's own probabilities, which only training has",
}
"""What a reliability may need, and what that is."""
_HERE = "pretrain.association.reliability"

RELIABILITIES: Table = Table(
    "reliability",
    {
        "mutual": f"{_HERE}:mutual",
        "conf": Entry(f"{_HERE}:conf", needs=("probabilities",)),
        "mean": Entry(f"{_HERE}:mean", needs=("probabilities",)),
        "sim": f"{_HERE}:sim",
        "margin": f"{_HERE}:margin",
        "track": Entry(f"{_HERE}:track", needs=("boxes",)),
        "oracle": Entry(f"{_HERE}:oracle", needs=("truth",)),
    },
    wanted="a function of pretrain.association.pairs.MatchedPairs that returns float [P] in [0, 1]",
    words=NEEDED,
)


def require_given(name: str, given: Collection[str], option: str) -> None:
    """Refuse a reliability that needs what there is not.

    Raises:
        InputError: If something is missing, or there is no such reliability.
    """
    RELIABILITIES.require(name, option)
    for missing in RELIABILITIES.needs(name):
        if missing not in given:
            raise InputError(
                f"{option} {name} needs {NEEDED[missing]}; without: {', '.join(RELIABILITIES.within(given))}"
            )
