"""Named runs. A new experiment is a new function."""

from collections.abc import Callable
from dataclasses import replace

from cluster.values import changes_of, look_up
from pretrain.config.optimizer import OptimizerConfig
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import ScaleConfig
from pretrain.data.config import PairConfig
from pretrain.losses.config import LossConfig
from pretrain.models.config import ModelConfig


def isr_tiny() -> PretrainConfig:
    """ISR, tiny encoder at 64x32. python -m pretrain train isr-tiny --clips DIR --out DIR. Two CPU cores, minutes."""
    return PretrainConfig(
        recipe="isr-tiny",
        epochs=15,
        batch_pairs=32,
        scale=ScaleConfig(cpus_per_worker=2, checkpoint_every=100),
        model=ModelConfig(architecture="tiny", embedding_size=128, height=64, width=32),
        # Colours tell people apart here; stronger jitter halved the result (benchmarks/README.md).
        pairs=PairConfig(min_interval_seconds=0.4, max_interval_seconds=3.0, jitter=0.2),
        optimizer=OptimizerConfig(learning_rate=2e-3),
        # Few fixed cameras: people of other videos are told apart by the camera's look, and that is what is learned.
        loss=LossConfig(other_video_negatives=False, same_video_gap_seconds=20.0),
    )


def isr_resnet18() -> PretrainConfig:
    """ISR, ResNet-18 at 256x128. python -m pretrain train isr-resnet18 --clips DIR --out DIR. Not measured yet."""
    return PretrainConfig(
        recipe="isr-resnet18",
        scale=ScaleConfig(data_workers=4, use_gpu=True),
        model=ModelConfig(architecture="resnet18"),
    )


def isr_resnet50() -> PretrainConfig:
    """ISR, ResNet-50 at 256x128. python -m pretrain train isr-resnet50 --clips DIR --out DIR. Not measured yet."""
    return PretrainConfig(
        recipe="isr-resnet50",
        scale=ScaleConfig(data_workers=8, use_gpu=True),
        model=ModelConfig(architecture="resnet50"),
    )


def isr_resnet50_ibn() -> PretrainConfig:
    """ISR, ResNet-50-IBN-a with GeM at 256x128; one normalisation for many cameras' looks. Not measured yet."""
    model = ModelConfig(architecture="resnet50_ibn_a", pooling="gem")
    return replace(isr_resnet50(), recipe="isr-resnet50-ibn", model=model)


def isr_swin_b() -> PretrainConfig:
    """ISR, Swin-B at 224x224 with a linear embedding of 512, as the authors' released model. Not measured yet."""
    model = ModelConfig(architecture="swin_b", height=224, width=224)
    return replace(isr_resnet50(), recipe="isr-swin-b", model=model)


def isr_vit_s() -> PretrainConfig:
    """ISR, ViT-S/16 at 256x128. Give it weights to begin with (--start timm:). Not measured yet."""
    return replace(isr_resnet50(), recipe="isr-vit-s", model=ModelConfig(architecture="vit_s"))


def infonce_tiny() -> PretrainConfig:
    """The baseline of isr-tiny: the same run with beta 0, which is plain InfoNCE on matched pairs."""
    base = isr_tiny()
    return replace(base, recipe="infonce-tiny", loss=replace(base.loss, beta=0.0))


def instance_tiny() -> PretrainConfig:
    """Instance discrimination, a baseline of isr-tiny: a positive pair is one crop, augmented twice."""
    base = infonce_tiny()
    return replace(base, recipe="instance-tiny", pairs=replace(base.pairs, partner="itself"))


def cycas_tiny() -> PretrainConfig:
    """CycAs, a baseline of isr-tiny: soft association there and back within a pair of frames, no negatives beyond."""
    base = isr_tiny()
    return replace(base, recipe="cycas-tiny", loss=LossConfig(kind="cycle"))


RECIPES: dict[str, Callable[[], PretrainConfig]] = {
    "isr-tiny": isr_tiny,
    "isr-resnet18": isr_resnet18,
    "isr-resnet50": isr_resnet50,
    "isr-resnet50-ibn": isr_resnet50_ibn,
    "isr-swin-b": isr_swin_b,
    "isr-vit-s": isr_vit_s,
    "infonce-tiny": infonce_tiny,
    "instance-tiny": instance_tiny,
    "cycas-tiny": cycas_tiny,
}


def find_recipe(name: str) -> Callable[[], PretrainConfig]:
    """Return a recipe by name.

    >>> import pretrain
    >>> pretrain.find_recipe("isr-tiny")().model.embedding_size
    128

    Raises:
        InputError: If there is none of that name; suggests a near one.
    """
    return look_up(name, RECIPES, "recipe")


def changes(config: PretrainConfig) -> list[str]:
    """List in what a configuration differs from its recipe, as ``name: recipe's -> its own``."""
    return changes_of(config, RECIPES)
