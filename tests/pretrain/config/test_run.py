"""Configurations as values: JSON and back, hashes, differences, and the refusal of values that cannot work."""

import dataclasses
import json
import re

import pytest

from cluster.values import differences, fingerprint, from_json, to_json
from pretrain.config.optimizer import OptimizerConfig
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import ScaleConfig
from pretrain.data.config import PairConfig
from pretrain.losses.config import LossConfig
from pretrain.models.config import ModelConfig
from tests.cluster.test_values import assert_every_field_counts

RUN = PretrainConfig(
    recipe="test",
    seed=7,
    batch_pairs=12,
    scale=ScaleConfig(workers=3),
    model=ModelConfig(architecture="tiny", height=64, width=32),
    pairs=PairConfig(jitter=0.0),
    loss=LossConfig(reliability="conf", mask_same_pair_cross=0.1),
    optimizer=OptimizerConfig(weight_decay=0.0),
)


@pytest.mark.parametrize("config", [RUN, PretrainConfig(recipe="defaults")])
def test_json_text_gives_the_same_value_back(config):
    text = json.dumps(to_json(config))
    assert from_json(type(config), json.loads(text)) == config


def test_every_field_changes_the_fingerprint_and_is_listed_as_the_only_difference():
    assert_every_field_counts(PretrainConfig(recipe="defaults"))


def test_equal_values_have_equal_fingerprints():
    assert re.fullmatch("[0-9a-f]{12}", fingerprint(RUN))
    assert fingerprint(dataclasses.replace(RUN)) == fingerprint(RUN)
    whole = dataclasses.replace(RUN, loss=dataclasses.replace(RUN.loss, beta=1))
    point = dataclasses.replace(RUN, loss=dataclasses.replace(RUN.loss, beta=1.0))
    assert whole == point
    assert fingerprint(whole) == fingerprint(point)


def test_differences_say_what_was_and_what_is():
    other = dataclasses.replace(
        RUN, epochs=3, loss=dataclasses.replace(RUN.loss, temperature=0.2, mask_same_pair_cross=None)
    )
    assert differences(RUN, other) == [
        "epochs: 20 -> 3",
        "loss.temperature: 0.1 -> 0.2",
        "loss.mask_same_pair_cross: 0.1 -> None",
    ]
    assert differences(RUN, dataclasses.replace(RUN)) == []


def test_files_of_other_versions_are_refused():
    values = to_json(RUN)
    values["loss"]["sharpness"] = values["loss"].pop("temperature")
    with pytest.raises(
        ValueError, match=r"saved LossConfig .*unknown fields \['sharpness'\], missing fields \['temperature'\]"
    ):
        from_json(PretrainConfig, values)
    for nothing in (None, 3, []):
        with pytest.raises(ValueError, match=r"missing fields .*'recipe'"):
            from_json(PretrainConfig, nothing)


def test_a_saved_value_that_cannot_work_is_refused():
    values = to_json(RUN)
    values["loss"]["temperature"] = -1.0
    with pytest.raises(ValueError, match=r"loss\.temperature must be > 0, got -1\.0"):
        from_json(PretrainConfig, values)


@pytest.mark.parametrize(
    ("kind", "values", "text"),
    [
        (PairConfig, {"min_interval_seconds": 0.0}, "pairs.min-interval-seconds must be in (0, "),
        (PairConfig, {"min_interval_seconds": 2.5}, "pairs.max-interval-seconds], got 2.5"),
        (PairConfig, {"jitter": -0.1}, "pairs.jitter must be in [0, 2], got -0.1"),
        (PairConfig, {"jitter": 2.5}, "pairs.jitter must be in [0, 2], got 2.5"),
        (PairConfig, {"padding_pixels": -1}, "pairs.padding-pixels must be >= 0, got -1"),
        (PairConfig, {"jitter_probability": 1.1}, "pairs.jitter-probability must be in [0, 1], got 1.1"),
        (PairConfig, {"grayscale_probability": -1.0}, "pairs.grayscale-probability must be in [0, 1], got -1.0"),
        (PairConfig, {"blur_probability": 2.0}, "pairs.blur-probability must be in [0, 1], got 2.0"),
        (PairConfig, {"erasing_probability": 2.0}, "pairs.erasing-probability must be in [0, 1], got 2.0"),
        (PairConfig, {"flip_probability": 2.0}, "pairs.flip-probability must be in [0, 1], got 2.0"),
        (ModelConfig, {"embedding_size": -1}, "model.embedding-size must be >= 0, got -1"),
        (ModelConfig, {"height": 8}, "model.height/width must be >= 16, got (8, 128)"),
        (ModelConfig, {"width": 15}, "model.height/width must be >= 16, got (256, 15)"),
        (LossConfig, {"temperature": 0.0}, "loss.temperature must be > 0, got 0.0"),
        (LossConfig, {"temperature": float("nan")}, "loss.temperature must be > 0, got nan"),
        (LossConfig, {"reliability_temperature": -1.0}, "loss.reliability-temperature must be > 0, got -1.0"),
        (LossConfig, {"beta": -0.5}, "loss.beta must be >= 0, got -0.5"),
        (LossConfig, {"beta_warmup_steps": -1}, "loss.beta-warmup-steps must be >= 0, got -1"),
        (LossConfig, {"same_video_gap_seconds": 0.0}, "loss.same-video-gap-seconds must be > 0, got 0.0"),
        (LossConfig, {"mask_same_pair_cross": -0.1}, "loss.mask-same-pair-cross must be >= 0, got -0.1"),
        (OptimizerConfig, {"learning_rate": 0.0}, "optimizer.learning-rate must be > 0, got 0.0"),
        (OptimizerConfig, {"weight_decay": -0.1}, "optimizer.weight-decay must be >= 0, got -0.1"),
        (OptimizerConfig, {"warmup_fraction": 1.0}, "optimizer.warmup-fraction must be in [0, 1), got 1.0"),
        (OptimizerConfig, {"max_gradient_norm": 0.0}, "optimizer.max-gradient-norm must be > 0, got 0.0"),
        *(
            (PretrainConfig, {"recipe": "r", name: 0}, f"{name.replace('_', '-')} must be >= 1, got 0")
            for name in ("epochs", "pairs_per_clip", "batch_pairs")
        ),
        *(
            (ScaleConfig, {name: 0}, f"{name.replace('_', '-')} must be >= 1, got 0")
            for name in (
                "workers",
                "cpus_per_worker",
                "data_workers",
                "checkpoint_every",
                "keep_checkpoints",
                "log_every",
            )
        ),
        (ScaleConfig, {"max_failures": -1}, "max-failures must be >= 0, got -1"),
        (
            PretrainConfig,
            {"recipe": "r", "scale": ScaleConfig(workers=65)},
            "batch-pairs must be >= workers=65, got 64",
        ),
        (ScaleConfig, {"min_workers": 2}, "min-workers must be in [0, 1], got 2"),
        (
            PretrainConfig,
            {"recipe": "r", "loss": LossConfig(reliability="oracle")},
            "truth must be given with loss.reliability oracle, got ",
        ),
    ],
)
def test_values_that_cannot_work_are_refused_with_their_name_and_value(kind, values, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        kind(**values)
