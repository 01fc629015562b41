"""The samplers by name: the one list that the configuration and the command line know. No torch."""

from typing import Any

from cluster.extensions import Entry, Table


def _is_sampler(found: Any) -> bool:
    return callable(found) and callable(getattr(found, "rows", None))


SAMPLERS: Table = Table(
    "sampler",
    {
        "groups": "lifelong.data.pk_sampler:PKSampler",
        "episodes": "lifelong.data.episode_sampler:EpisodeSampler",
        "graph": Entry("lifelong.data.graph_sampler:GraphSampler", needs=("network",)),
    },
    wanted="a class with per_epoch, per_step and rows, as lifelong.data.samplers.Sampler has them",
    fits=_is_sampler,
    words=("network",),
)
"""``network``: an epoch's draws depend on the network as it is then. Such a sampler has ``before_epoch`` (see
`lifelong.data.graph_sampler`), and its samples cannot be made ahead of their epoch."""
