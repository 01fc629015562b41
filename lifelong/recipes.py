"""Methods by name. A new experiment is a new function.

Methods differ in the terms of the loss, in what is kept and in who meets whom; those of DwoPP and QAConv also have the
schedule and the optimiser of their authors' code. ``-tiny`` recipes have a small encoder at 64x32 and run on two CPU
cores in minutes; there all share one schedule and optimiser.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cluster.values import changes_of, look_up
from lifelong.stages.config import MemoryConfig, StageConfig
from lifelong.stages.loss_config import EpisodeLossConfig, LossConfig, MatchingLossConfig
from pretrain.config.optimizer import OptimizerConfig
from pretrain.config.scale import ScaleConfig
from pretrain.models.config import ModelConfig

NOTHING_KEPT = MemoryConfig(identities=0)
PLAIN = StageConfig(recipe="")


def _method(name: str, loss: LossConfig, *, memory: MemoryConfig | None = None, **settings: Any) -> StageConfig:
    kept = memory or MemoryConfig()
    scale = ScaleConfig(use_gpu=True, data_workers=8, checkpoint_every=500, keep_checkpoints=1)
    return StageConfig(recipe=name, scale=scale, loss=loss, memory=kept, **settings)


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


def bot_finetune() -> StageConfig:
    """finetune, by its name in DwoPP's comparison: identities and triplets as in BoT (Luo et al., 2019)."""
    return replace(finetune(), recipe="bot-finetune")


def dmml_finetune() -> StageConfig:
    """Fine-tuning by deep meta metric learning over episodes (DMML; Chen et al., 2019); nothing is kept."""
    return _episodic("dmml-finetune", EpisodeLossConfig(metric=1.0))


def dwpp() -> StageConfig:
    """dmml-finetune that agrees with the last model on the nearness of all prototypes, the positive one included."""
    return _episodic("dwpp", EpisodeLossConfig(metric=1.0, distillation=1.0, drop_positive=False, target_weight=1.0))


def dwopp() -> StageConfig:
    """dmml-finetune that agrees with the last model on the nearness of other identities' prototypes alone (DwoPP)."""
    return _episodic("dwopp", EpisodeLossConfig(metric=1.0, distillation=1.0))


def _episodic(name: str, episode: EpisodeLossConfig) -> StageConfig:
    """Settings of DwoPP's scripts, with the deviations of METHOD.md 4.2 and 4.5."""
    return _method(
        name,
        LossConfig(identity=0.0, triplet=0.0, episode=episode),
        memory=NOTHING_KEPT,
        epochs=600,
        sampler="episodes",
        schedule="late-decay",
        images_per_identity=6,
        later_rate=1.0,
        augment=replace(PLAIN.augment, padding_pixels=0),
        optimizer=OptimizerConfig(learning_rate=2e-4, weight_decay=1e-4, warmup_fraction=0.0, max_gradient_norm=10.0),
    )


def qaconv() -> StageConfig:
    """QAConv 2.1 without its sampler: hardest triplets of matching scores, identities at random."""
    return _matching("qaconv", MatchingLossConfig(triplet=1.0))


def qaconv_gs() -> StageConfig:
    """QAConv 2.1: hardest triplets of matching scores among identities that look alike (graph sampler)."""
    return replace(qaconv(), recipe="qaconv-gs", sampler="graph")


def qaconv_pairwise() -> StageConfig:
    """QAConv with the loss of version 2.0: every pair of a batch is the same person or not."""
    return _matching("qaconv-pairwise", MatchingLossConfig(pairwise=1.0))


def qaconv_memory() -> StageConfig:
    """QAConv with the loss of versions 1.x: every image against the latest map of each identity, focal."""
    return _matching("qaconv-memory", MatchingLossConfig(class_memory=1.0))


def _matching(name: str, matching: MatchingLossConfig) -> StageConfig:
    """Settings of QAConv 2.1, for weights that were trained before: see METHOD.md 5.6."""
    return _method(
        name,
        LossConfig(identity=0.0, triplet=0.0, matching=matching),
        memory=NOTHING_KEPT,
        schedule="adaptive",
        images_per_identity=2,
        later_rate=1.0,
        encoder_rate=0.1,
        freeze_batch_norm="always",
        clip="apart",
        model=ModelConfig(height=384, width=128),
        augment=replace(PLAIN.augment, jitter=0.5, jitter_probability=1.0, erasing_probability=1.0),
        optimizer=OptimizerConfig(
            kind="sgd", learning_rate=5e-3, weight_decay=5e-4, warmup_fraction=0.0, max_gradient_norm=8.0
        ),
    )


FULL_SIZE = (
    finetune,
    bot_finetune,
    dmml_finetune,
    dwpp,
    dwopp,
    qaconv,
    qaconv_gs,
    qaconv_pairwise,
    qaconv_memory,
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
            epochs=TINY_EPOCHS[base.sampler],
            schedule="cosine",
            batch_identities=8,
            images_per_identity=4,
            encoder_rate=1.0,
            freeze_batch_norm="never",
            augment=PLAIN.augment,
            replay_identities=1,
            scale=replace(base.scale, use_gpu=False, data_workers=1),
            later_rate=TINY_LATER_RATE,
            model=ModelConfig(architecture="tiny", embedding_size=128, height=64, width=32),
            memory=replace(base.memory, identities=min(base.memory.identities, TINY_IDENTITIES)),
            optimizer=OptimizerConfig(learning_rate=2e-3, weight_decay=5e-4, max_gradient_norm=10.0),
        )

    small.__doc__ = f"{recipe.__doc__} Tiny encoder at 64x32."
    return small


TINY_EPOCHS = {"groups": 5, "episodes": 15, "graph": 2}
"""About as many steps for a drawn street, which has a dozen images of a person."""
TINY_LATER_RATE = 0.5
"""With so few steps, a tenth of the rate would hardly learn the new dataset."""
TINY_IDENTITIES = 40

RECIPES: dict[str, Callable[[], StageConfig]] = {
    make().recipe: make for make in (*FULL_SIZE, *(tiny(recipe) for recipe in FULL_SIZE))
}


def changes(config: StageConfig) -> list[str]:
    """List in what a configuration differs from its recipe, as ``name: recipe's -> its own``."""
    return changes_of(config, RECIPES)


def find_recipe(name: str) -> Callable[[], StageConfig]:
    """Return a recipe by name.

    Raises:
        InputError: If there is none of that name; suggests a near one.
    """
    return look_up(name, RECIPES, "recipe")
