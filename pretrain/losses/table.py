"""The pretraining losses by name: the one list that the configuration and the command line know. No torch.

A loss is a function of `pretrain.losses.batch.LossInput`. It returns a sum over this process with gradient, and what
the sum is divided by; both are added up over processes, so that the loss is that of the whole batch.
"""

from cluster.extensions import Entry, Table

LOSSES: Table = Table(
    "loss",
    {
        "contrastive": Entry("pretrain.losses.contrastive:contrastive", needs=("reliability",)),
        "cycle": "pretrain.losses.cycle:cycle",
    },
    wanted="a function of pretrain.losses.batch.LossInput that returns a sum and what it is divided by",
    words=("reliability",),
)
"""``reliability`` is needed by those that weigh pairs by it; others do without boxes and truth."""
