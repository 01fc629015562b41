"""A run's newest weights as a model directory for others."""

import os
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from cluster import storage
from cluster.values import from_json
from pretrain.config import PretrainConfig
from pretrain.models.directory import model_card, write_model
from pretrain.models.encoder import make_encoder
from pretrain.runs.checkpoint import read_state
from pretrain.runs.metrics import read_metrics
from pretrain.train import latest_checkpoint


def export(run: str, out: str, *, untrained: bool = False) -> dict[str, Any]:
    """Write the model directory of a run.

    Args:
        run: A run directory.
        out: The model directory.
        untrained: Write the weights that the run began with: the baseline of its results.

    Returns:
        The content of the model's ``config.json``.

    Raises:
        ValueError: If the run is none, or has no checkpoint yet.
    """
    if untrained:
        location = storage.join(run, "config.json")
        if not storage.exists(location):
            raise ValueError(f"{run} is no run directory of python -m pretrain train")
        config = from_json(PretrainConfig, storage.read_json(location).get("config"))
        return export_untrained(config, out)
    with storage.local_copy(latest_checkpoint(run)) as folder:
        config, state = read_state(folder, PretrainConfig)
        tensors = load_file(os.path.join(folder, "model.safetensors"))
    record = {entry["step"]: entry for entry in read_metrics(run)}.get(state["step"], {})
    facts = [
        ("recipe", config.recipe),
        ("steps", f"{state['step']} of {state['total_steps']}, {config.batch_pairs} frame pairs each"),
        ("seed", str(config.seed)),
        *(
            (name, f"{record[name]:.4f}")
            for name in ("loss/total", "reliability/mean", "pairs/similarity")
            if name in record
        ),
        ("retrieval", "not measured yet: python -m evaluation embed, then score"),
    ]
    return _write(tensors, config, out, step=int(state["step"]), facts=facts)


def export_untrained(config: PretrainConfig, out: str) -> dict[str, Any]:
    """Write the random weights that a run with this configuration begins with."""
    tensors = {
        name: tensor.contiguous() for name, tensor in make_encoder(config.model, seed=config.seed).state_dict().items()
    }
    return _write(tensors, config, out, step=0, facts=[("steps", "0: random weights"), ("seed", str(config.seed))])


def _write(
    tensors: dict[str, Tensor], config: PretrainConfig, out: str, *, step: int, facts: list[tuple[str, str]]
) -> dict[str, Any]:
    card = model_card(title=f"{config.recipe}, step {step}", config=config.model, facts=facts)
    return write_model(tensors, config.model, out, recipe=config.recipe, step=step, card=card)
