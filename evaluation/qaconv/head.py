"""The few numbers that turn the best matches of two feature maps into a score; trained elsewhere, folded here.

Shapes: L locations of a query's map, M locations of a gallery map.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cluster import storage
from cluster.errors import InputError

EPSILON = 1e-5
"""Of torch's batch norm."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class QAConvHead:
    """How much the best match of each location counts: ``score = scale * raw + shift`` (`evaluation.qaconv.scores`)."""

    query_weight: NDArray[np.float32]
    """[L]."""
    gallery_weight: NDArray[np.float32] | None = None
    """[M]; None takes the query's weights for both (version 2.1), and the score is symmetric. Version 1.0 has its own,
    and is not."""
    scale: float = 1.0
    """> 0: with another sign the ranking by raw would be the wrong way round. `fold` moves a sign into the weights."""
    shift: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in (("query", self.weights[0]), ("gallery", self.weights[1])):
            if weight.ndim != 1 or not weight.size or weight.dtype != np.float32 or not np.isfinite(weight).all():
                raise InputError(
                    f"{name} weights must be finite float32 [L], got {weight.dtype} {list(weight.shape)}; "
                    "check the parameters of the matcher"
                )
        if not (np.isfinite(self.scale) and self.scale > 0 and np.isfinite(self.shift)):
            raise InputError(f"scale must be > 0 and shift finite, got {self.scale} and {self.shift}")

    @property
    def weights(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The weights of the query's and of the gallery's locations."""
        return self.query_weight, self.query_weight if self.gallery_weight is None else self.gallery_weight

    @classmethod
    def uniform(cls, num_locations: int) -> "QAConvHead":
        """Return the head before training: the mean of the best matches, both ways (plain MaxSim).

        Raises:
            InputError: If there are no locations.
        """
        if num_locations < 1:
            raise InputError(f"a map needs at least one location, got {num_locations}")
        return cls(query_weight=np.full(num_locations, 1 / num_locations, np.float32))

    @classmethod
    def fold(cls, parameters: Mapping[str, ArrayLike], *, num_locations: int) -> "QAConvHead":
        """Fold the trained module, with its running statistics, into one affine map.

        The module, at test time, with m and n the best matches of the query's and of the gallery's locations::

            bn(x) = (x - bn.running_mean) / sqrt(bn.running_var + 1e-5) * bn.weight + bn.bias     # logit_bn likewise
            score = logit_bn((w . bn(m) + b) + (w . bn(n) + b))        # 2.1: fc.weight is w, shared
            score = logit_bn(w1 . bn(m) + w2 . bn(n) + b)              # 1.0: fc.weight is w1 and w2 side by side

        With g1 x + c1 for bn and g2 x + c2 for logit_bn that is ``g1 g2 raw + g2 (c1 (sum w1 + sum w2) + b's) + c2``.
        If g1 g2 is negative, the signs of the weights are turned instead: the score is the same, raw ranks as it does.

        Args:
            parameters: ``fc.weight``, ``fc.bias``, and ``weight``, ``bias``, ``running_mean``, ``running_var`` of
                ``bn`` and of ``logit_bn``.
            num_locations: L of the maps; ``fc.weight`` has as many entries (2.1), or twice as many (1.0).

        Raises:
            InputError: If a parameter is missing, ``fc.weight`` has another size, or g1 g2 is zero: all scores would be
                equal.
        """
        wanted = [f"{norm}.{name}" for norm in ("bn", "logit_bn") for name in _NORM] + ["fc.weight", "fc.bias"]
        missing = [name for name in wanted if name not in parameters]
        if missing:
            raise InputError(f"the matcher has no {', '.join(missing)}; got {', '.join(parameters)}")
        values = {name: np.asarray(parameters[name], np.float64).ravel() for name in wanted}
        (g1, c1), (g2, c2) = _affine(values, "bn"), _affine(values, "logit_bn")
        weight, bias = values["fc.weight"], float(values["fc.bias"][0])
        if len(weight) not in (num_locations, 2 * num_locations):
            raise InputError(
                f"fc.weight has {len(weight)} entries; maps of {num_locations} locations need that or twice"
            )
        is_shared = len(weight) == num_locations
        total = 2 * weight.sum() if is_shared else weight.sum()
        scale = g1 * g2
        signed = (np.sign(scale) * weight).astype(np.float32)
        return cls(
            query_weight=signed[:num_locations],
            gallery_weight=None if is_shared else signed[num_locations:],
            scale=abs(scale),
            shift=float(g2 * (c1 * total + (2 * bias if is_shared else bias)) + c2),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, from which `from_json` makes the same head."""
        other = self.gallery_weight
        return {
            "query_weight": self.query_weight.tolist(),
            "gallery_weight": None if other is None else other.tolist(),
            "scale": self.scale,
            "shift": self.shift,
        }

    @classmethod
    def from_json(cls, values: Any) -> "QAConvHead":
        """Rebuild a head.

        Raises:
            InputError: If the values are not those of a head.
        """
        if not isinstance(values, dict) or set(values) != {"query_weight", "gallery_weight", "scale", "shift"}:
            raise InputError("not a QAConv head: it has query_weight, gallery_weight, scale, shift; write it again")
        try:
            weights = [None if (w := values[f"{side}_weight"]) is None else np.array(w, np.float32) for side in _SIDES]
            scale, shift = float(values["scale"]), float(values["shift"])
        except (TypeError, ValueError) as error:
            raise InputError(f"not a QAConv head ({error}); write it again") from error
        if weights[0] is None:
            raise InputError("not a QAConv head: query_weight is null; write it again")
        return cls(query_weight=weights[0], gallery_weight=weights[1], scale=scale, shift=shift)


_NORM = ("weight", "bias", "running_mean", "running_var")
_SIDES = ("query", "gallery")


def _affine(values: Mapping[str, NDArray[np.float64]], name: str) -> tuple[float, float]:
    """Return factor and offset of a batch norm of one channel."""
    weight, bias, mean, variance = (float(values[f"{name}.{part}"][0]) for part in _NORM)
    factor = weight / np.sqrt(variance + EPSILON)
    return float(factor), float(bias - mean * factor)


def write_head(location: str, head: QAConvHead) -> None:
    """Write a head as JSON, whole or not at all."""
    storage.write_json(storage.resolve(location), head.to_json())


def read_head(location: str) -> QAConvHead:
    """Read a head that `write_head` wrote.

    Raises:
        InputError: If there is no such file, or it holds something else.
    """
    location = storage.resolve(location)
    if not storage.exists(location):
        raise InputError(f"{location}: no such file; it should hold a QAConv head")
    try:
        return QAConvHead.from_json(storage.read_json(location))
    except ValueError as error:
        raise InputError(f"{location}: {error}") from error
