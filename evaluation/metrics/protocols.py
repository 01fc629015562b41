"""The rules by which rankings are scored, by name. Peers differ in them, and so do their numbers.

What a ranking is, is the same everywhere: gallery images sorted by distance, junk (identity -1) left out. Distractors
(identity 0 in Market-1501) are ordinary gallery images that no query seeks. The rules differ in which AP is meant, in
which images of the query's own camera are left out, in how equal distances are treated, and in what a query without a
match counts. A parity test holds each rule against numbers that its own code base computed.
"""

from dataclasses import dataclass
from typing import Literal

from cluster.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """A named set of rules."""

    name: str
    summary: str
    """Who scores like this."""
    average_precision: Literal["finite-sum", "trapezoid"] = "finite-sum"
    """``finite-sum``: mean over matches of the precision at their rank. ``trapezoid``: the area under the
    precision-recall polygon, as Oxford5k's and Market-1501's own programs compute it; lower, and by several points
    where queries have two or three matches."""
    left_out: Literal["same-passage", "same-camera", "nothing"] = "same-passage"
    """``same-passage``: images of the query's identity by the query's camera. ``same-camera``: all of that camera."""
    ties: Literal["gallery-order", "grouped", "averaged"] = "gallery-order"
    """``gallery-order``: equal distances stay in the order of the gallery. ``grouped``: AP takes precision at the end
    of each run of equal distances, as scikit-learn does. ``averaged``: AP is its mean over all orders of equal
    distances (McSherry and Najork, 2008). Ranks and CMC are in gallery order always."""
    without_match: Literal["left-out", "zero"] = "left-out"
    """``left-out``: a query without a match is counted and in no mean. ``zero``: it is in every mean, as 0."""
    gallery: Literal["all", "one-per-identity", "one-of-all-per-identity"] = "all"
    """``one-per-identity``: CMC is of a gallery with one random image of each identity among those that are not left
    out; AP is of the whole. ``one-of-all-per-identity``: one random image of each identity, drawn from queries and
    gallery together, is the gallery, and all others are queries."""
    num_repeats: int = 1
    """How often a random gallery is drawn; scores are means over the repeats."""


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(name="market", summary="torchreid, fast-reid, TransReID, OpenUnReID: finite-sum AP, stable ties"),
        Protocol(
            name="market-official",
            summary="Market-1501's own program and its PyTorch port: trapezoid AP, every query in the denominator",
            average_precision="trapezoid",
            without_match="zero",
        ),
        Protocol(
            name="market-averaged",
            summary="market with AP averaged over all orders of equal distances; for quantised features",
            ties="averaged",
        ),
        Protocol(
            name="open-reid",
            summary="QAConv, SpCL, Cluster Contrast, LSTKC, DKP, Bi-C2R: scikit-learn's AP, which groups ties",
            ties="grouped",
        ),
        Protocol(name="aka", summary="AKA, PatchKD: queries without a match count as zero", without_match="zero"),
        Protocol(
            name="cuhk03-classic",
            summary="CUHK03 with 20 partitions: same camera left out, one gallery image per identity, 10 draws",
            left_out="same-camera",
            gallery="one-per-identity",
            num_repeats=10,
        ),
        Protocol(
            name="vehicleid",
            summary="VehicleID: one random image per vehicle is the gallery, cameras are ignored, 10 draws",
            left_out="nothing",
            gallery="one-of-all-per-identity",
            num_repeats=10,
        ),
        Protocol(name="joint", summary="market over several datasets at once, identities and cameras kept apart"),
    )
}
MARKET = PROTOCOLS["market"]


def find_protocol(name: str) -> Protocol:
    """Return the protocol of a name.

    Raises:
        InputError: If there is none.
    """
    if name not in PROTOCOLS:
        raise InputError(f"there is no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
