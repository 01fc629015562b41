"""Methods by name. A new experiment is a new function.

All methods share the network, the samples, the step and the schedule; they differ in the terms of the loss and in what
is kept. ``-tiny`` recipes have a small encoder at 64x32 and run on two CPU cores in minutes.
"""

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches

from lifelong.config import LossConfig, MemoryConfig, StageConfig
from pretrain.config import ModelConfig, OptimizerConfig

NOTHING_KEPT = MemoryConfig(identities=0)


def _method(name: str, loss: LossConfig, *, memory: MemoryConfig | None = None, joint: bool = False) -> StageConfig:
    kept = memory or MemoryConfig()
    return StageConfig(recipe=name, use_gpu=True, data_workers=8, loss=loss, memory=kept, joint=joint)


def lreid_bc() -> StageConfig:
    """LReID-BC: compatibility over frozen replay features, part consolidation by the product of masks, distillation."""
    return _method("lreid-bc", FULL)


FULL = LossConfig(compatibility=1.0, parts=0.1, consolidation=1.0, logit_distillation=1.0)


def finetune() -> StageConfig:
    """Lower bound: each stage goes on with the last weights and looks at its own images alone."""
    return _method("finetune", LossConfig(), memory=NOTHING_KEPT)


def replay() -> StageConfig:
    """Fine-tuning that also replays the memory's images; nothing holds features where they were."""
    return _method("replay", LossConfig())


def joint() -> StageConfig:
    """Upper bound of what a model can know: every stage trains on all images so far. It keeps everything."""
    return _method("joint", LossConfig(), memory=NOTHING_KEPT, joint=True)


def lwf() -> StageConfig:
    """Learning without Forgetting (Li and Hoiem, 2016): agrees with the last model's logits on new images."""
    return _method("lwf", LossConfig(logit_distillation=1.0), memory=NOTHING_KEPT)


def relation_kd() -> StageConfig:
    """Replay, and relations between images as the last model saw them (as PTKP, LSTKC); blind to rotations."""
    return _method("relation-kd", LossConfig(relation_distillation=1.0))


def bct() -> StageConfig:
    """Replay and BCT's influence loss (Shen et al., 2020): the last model's classifier judges the new features."""
    return _method("bct", LossConfig(influence=1.0))


def lreid_bc_no_compatibility() -> StageConfig:
    """Ablation of lreid-bc: without the cross-model compatibility loss."""
    return _method("lreid-bc-no-compatibility", replace(FULL, compatibility=0.0))


def lreid_bc_rivals() -> StageConfig:
    """lreid-bc, whose compatibility loss also has new features of other people among its negatives (as RACT)."""
    return _method("lreid-bc-rivals", replace(FULL, rivals=True))


def lreid_bc_no_parts() -> StageConfig:
    """Ablation of lreid-bc: without parts and their consolidation."""
    return _method("lreid-bc-no-parts", replace(FULL, parts=0.0, consolidation=0.0))


def lreid_bc_average() -> StageConfig:
    """Ablation of lreid-bc: masks joined by their average."""
    return _method("lreid-bc-average", replace(FULL, combine="average"))


FULL_SIZE = (
    finetune,
    replay,
    joint,
    lwf,
    relation_kd,
    bct,
    lreid_bc,
    lreid_bc_no_compatibility,
    lreid_bc_rivals,
    lreid_bc_no_parts,
    lreid_bc_average,
)


def tiny(recipe: Callable[[], StageConfig]) -> Callable[[], StageConfig]:
    """Make the small form of a recipe."""

    def small() -> StageConfig:
        base = recipe()
        return replace(
            base,
            recipe=f"{base.recipe}-tiny",
            epochs=TINY_EPOCHS,
            batch_identities=8,
            replay_identities=1,
            use_gpu=False,
            data_workers=1,
            later_rate=TINY_LATER_RATE,
            model=ModelConfig(architecture="tiny", embedding_size=128, height=64, width=32),
            memory=replace(base.memory, identities=min(base.memory.identities, TINY_IDENTITIES)),
            optimizer=OptimizerConfig(learning_rate=2e-3, weight_decay=5e-4, max_gradient_norm=10.0),
        )

    small.__doc__ = f"{recipe.__doc__} Tiny encoder at 64x32."
    return small


TINY_EPOCHS = 5
TINY_LATER_RATE = 0.5
"""With so few steps, a tenth of the rate would hardly learn the new dataset."""
TINY_IDENTITIES = 40

RECIPES: dict[str, Callable[[], StageConfig]] = {
    make().recipe: make for make in (*FULL_SIZE, *(tiny(recipe) for recipe in FULL_SIZE))
}


def find_recipe(name: str) -> Callable[[], StageConfig]:
    """Return a recipe by name.

    Raises:
        ValueError: If there is none of that name; suggests a near one.
    """
    if name not in RECIPES:
        near = get_close_matches(name, RECIPES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"unknown recipe {name!r}; {hint}Recipes: {', '.join(RECIPES)}")
    return RECIPES[name]
