"""One of each kind from a module outside the tree works by its name, and what cannot work is one clear line."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cluster.errors import InputError
from cluster.extensions import Table, imported
from cluster.values import from_json, to_json
from lifelong.runs.backend import LocalBackend
from lifelong.runs.sequence import run_sequence
from lifelong.stages.config import StageConfig
from lifelong.stages.loss_config import LossConfig as StageLossConfig
from lifelong.stages.samplers import SAMPLERS
from lifelong.stages.terms import TERMS
from pretrain.association.table import RELIABILITIES, require_given
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import ScaleConfig
from pretrain.data.clip_table import load_clip_table
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.decoders import PyAvDecoder, probe, split
from pretrain.ingest.detectors.detector import make_detector
from pretrain.ingest.detectors.table import DETECTORS
from pretrain.ingest.extract import extract_clips
from pretrain.losses.config import LossConfig
from pretrain.losses.table import LOSSES
from pretrain.models.architectures import BACKBONES
from pretrain.models.config import ModelConfig
from pretrain.recipes import find_recipe
from pretrain.runs import train_here
from pretrain.training.record import read_metrics
from tests.lifelong.runs.runs import plan_of, write_domains
from tests.pretrain.ingest.films import film, write_clips_directory, write_film

OUTSIDE = '''
"""What a user writes beside the tree."""
import numpy as np
import torch
from torch import nn

from cluster.extensions import needs
from pretrain.models.architectures import BackboneSpec

NUMBER = 3


def thirds(pairs):
    return torch.full((len(pairs.matches.pair),), 1 / 3)


@needs("truth")
def knows(pairs):
    return pairs.is_right_P.float()


@needs("luck")
def lucky(pairs):
    return thirds(pairs)


def misshapen(pairs):
    return torch.zeros(len(pairs.matches.pair), 2)


def pull(batch):
    x, y = batch.x_ND[batch.matches.x_index], batch.y_MD[batch.matches.y_index]
    return (x - y).square().sum(), torch.tensor(float(len(x)))


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Conv2d(3, 6, 8, 8)

    def forward(self, image):
        return self.trunk(image).mean(dim=(2, 3))


FLAT = BackboneSpec(make=lambda config: Flat(), num_features=6, map_layer="trunk", trunk_layer="trunk", multiple=8)


class Middle:
    history_seconds = 0.0

    def __init__(self, *, weights, min_height):
        self.height = max(min_height, 90)

    def begin(self, segment, history):
        pass

    def detect(self, frame):
        lefts = (40, 160)
        return np.array([(left, 60, 40, self.height, 0.9) for left in lefts], np.float32)


def short(batch):
    return batch.outputs.raw_BD.square().sum(dim=1).mean()


@needs("teacher")
def near(batch):
    return (batch.outputs.embedding_BD - batch.before.embedding_BD).square().sum(dim=1).mean()


class InTurn:
    def __init__(self, config, label_N, folder):
        self.rows_of = [np.flatnonzero(label_N == value) for value in np.unique(label_N)]
        self.per_step = min(config.batch_identities, len(self.rows_of))
        self.per_epoch = self.per_step
        self.count = config.images_per_identity

    def rows(self, draw):
        return np.resize(self.rows_of[draw % len(self.rows_of)], self.count)
'''
pytestmark = pytest.mark.usefixtures("one_thread", "outside")


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside")
    (folder / "users_own.py").write_text(OUTSIDE, encoding="utf-8")
    (folder / "users_broken.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    for name in ("users_own", "users_broken"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return str(write_clips_directory(tmp_path_factory.mktemp("clips"), videos=1, clips=4))


def pretrain(clips: str, out: Path, **changes) -> list[dict[str, float]]:
    """Two steps in this process; returns their records."""
    config = replace(
        find_recipe("isr-tiny")(),
        batch_pairs=2,
        epochs=1,
        scale=ScaleConfig(log_every=1),
        **{"model": ModelConfig(architecture="tiny", embedding_size=8, height=32, width=16), **changes},
    )
    train_here(config, load_clip_table(clips), str(out))
    return read_metrics(str(out))


def test_a_reliability_and_a_loss_from_outside_train(clips: str, tmp_path: Path):
    loss = LossConfig(kind="users_own:pull", reliability="users_own:thirds")
    records = pretrain(clips, tmp_path / "run", loss=loss)
    assert len(records) == 2
    for record in records:
        assert record["reliability/mean"] == pytest.approx(1 / 3)
        # Of unit vectors: the mean squared distance that `pull` returns, and the mean cosine.
        assert record["loss/total"] == pytest.approx(2 - 2 * record["pairs/similarity"], abs=1e-5)


def test_a_reliability_weighs_the_loss_of_the_tree(clips: str, tmp_path: Path):
    even = pretrain(clips, tmp_path / "even", loss=LossConfig(reliability="users_own:thirds", normalisation="mean"))
    plain = pretrain(clips, tmp_path / "plain", loss=LossConfig(beta=0.0, normalisation="mean"))
    assert even[0]["loss/total"] == pytest.approx(plain[0]["loss/total"] / 3, rel=1e-5)


def test_a_backbone_from_outside_trains(clips: str, tmp_path: Path):
    model = ModelConfig(architecture="users_own:FLAT", embedding_size=0, height=32, width=16)
    assert model.length == 6
    assert len(pretrain(clips, tmp_path / "run", model=model)) == 2
    with pytest.raises(InputError, match=r"multiples of 8 with --model\.architecture users_own:FLAT"):
        ModelConfig(architecture="users_own:FLAT", height=36, width=16)


def test_a_detector_from_outside_cuts_people_out(tmp_path: Path):
    video = str(write_film(tmp_path / "a.mp4", film(20)))
    config = IngestConfig(detector="users_own:Middle", min_people=2)
    detector = make_detector(config.detector, weights=config.detector_weights, min_height=config.min_height)
    [segment] = split("a.mp4", video, probe(video), config.segment_seconds)
    clips, _ = extract_clips(segment, PyAvDecoder(), detector, config)
    boxes = {(crop["left"], crop["height"]) for clip in clips for frame in clip["frames"] for crop in frame["crops"]}
    assert boxes == {(40.0, 90.0), (160.0, 90.0)}


def test_terms_and_a_sampler_from_outside_train_two_stages(tmp_path: Path):
    write_domains(tmp_path)
    loss = StageLossConfig(triplet=0.0, extra=("users_own:short=0.25", "users_own:near=2"))
    plan = plan_of(tmp_path, "north", "south", sampler="users_own:InTurn", loss=loss, steps=2, replay_identities=0)
    run_sequence(plan, str(tmp_path / "run"), LocalBackend(), evaluate=False)
    first, second = (read_metrics(str(path.parent)) for path in sorted((tmp_path / "run").rglob("metrics.jsonl")))
    assert [len(first), len(second)] == [2, 2]
    assert "loss/users_own:near" not in first[0], "it needs a teacher"
    record = second[-1]
    parts = record["loss/identity"], 0.25 * record["loss/users_own:short"], 2 * record["loss/users_own:near"]
    assert record["loss/total"] == pytest.approx(sum(parts), rel=1e-5)


def test_configurations_with_names_from_outside_are_read_back():
    run = PretrainConfig(recipe="r", loss=LossConfig(reliability="users_own:thirds"))
    stage = StageConfig(recipe="r", loss=StageLossConfig(extra=("users_own:near=2",)))
    assert from_json(PretrainConfig, to_json(run)) == run
    assert from_json(StageConfig, to_json(stage)) == stage
    assert stage.loss.uses_teacher


def test_what_something_from_outside_needs_is_asked_for():
    loss = LossConfig(reliability="users_own:knows")
    with pytest.raises(InputError, match=r"truth must be given with loss.reliability users_own:knows"):
        PretrainConfig(recipe="r", loss=loss)
    assert PretrainConfig(recipe="r", loss=loss, truth="truth.csv").samples.follow == "never"
    with pytest.raises(InputError, match=r"loss.reliability users_own:lucky needs luck; what can be needed is boxes"):
        LossConfig(reliability="users_own:lucky")


def test_a_reliability_of_another_shape_is_refused(clips: str, tmp_path: Path):
    with pytest.raises(InputError, match=r"users_own:misshapen must give a number for each of \d+ pairs, got shape"):
        pretrain(clips, tmp_path / "run", loss=LossConfig(reliability="users_own:misshapen"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "margn",
            "loss.reliability: there is no reliability 'margn'; perhaps you meant margin; there are mutual, conf,",
        ),
        ("users_own:third", "users_own has no attribute third; perhaps you meant thirds"),
        (
            "users_own:NUMBER",
            "must be a function of pretrain.association.pairs.MatchedPairs that returns float [P] in ",
        ),
        (
            "users_broken:one",
            "module users_broken cannot be imported: ModuleNotFoundError: No module named 'nothing_of",
        ),
        ("no_such_module:one", "module no_such_module cannot be imported: ModuleNotFoundError"),
        ("users_own:", "loss.reliability must be a name or package.module:attribute, got 'users_own:'"),
    ],
)
def test_what_cannot_be_found_is_one_line(name: str, text: str):
    with pytest.raises(InputError) as caught:
        LossConfig(reliability=name)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: LossConfig(kind="cycles"), "there is no loss 'cycles'; perhaps you meant cycle"),
        (lambda: ModelConfig(architecture="resnet5"), "there is no architecture 'resnet5'; perhaps you meant resnet50"),
        (
            lambda: ModelConfig(architecture="users_own:Flat"),
            "must be a pretrain.models.architectures.BackboneSpec, and",
        ),
        (lambda: IngestConfig(detector="users_own:Flat"), "must be a class with begin and detect"),
        (lambda: StageConfig(recipe="r", sampler="group"), "there is no sampler 'group'; perhaps you meant groups"),
        (lambda: StageLossConfig(extra=("users_own:short=-1",)), "package.module:TERM=WEIGHT with a weight > 0, got"),
        (lambda: StageLossConfig(extra=("triplet=1",)), "loss.extra must be package.module:TERM=WEIGHT"),
        (lambda: StageLossConfig(extra=("users_own:shorter=1",)), "users_own has no attribute shorter"),
    ],
)
def test_each_kind_refuses_what_is_none_of_it(make, text: str):
    with pytest.raises(InputError) as caught:
        make()
    assert text in str(caught.value)


@pytest.mark.parametrize("table", [RELIABILITIES, LOSSES, BACKBONES, DETECTORS, SAMPLERS, TERMS], ids=lambda t: t.kind)
def test_every_line_of_a_table_leads_somewhere(table: Table):
    for name in table:
        assert table.fits(table.load(name))
        assert set(table.needs(name)) <= set(table.words)


def test_what_needs_more_than_there_is_names_the_others():
    with pytest.raises(InputError, match=r"--reliability conf needs the loss's own .*; without: mutual, sim, margin$"):
        require_given("conf", (), "--reliability")


def test_an_attribute_may_lie_deeper():
    assert imported("numpy:random.default_rng", "x") is np.random.default_rng
    assert imported("torch:Tensor", "x") is torch.Tensor


def test_the_help_lists_the_names_of_the_tables(capsys):
    from pretrain.__main__ import COMMANDS

    for command, table in (("train", RELIABILITIES), ("train", BACKBONES), ("prepare", DETECTORS)):
        with pytest.raises(SystemExit):
            COMMANDS[command].run("prog", [*(["isr-tiny"] if command == "train" else []), "--help"])
        shown = "".join(capsys.readouterr().out.replace("│", "").split())
        assert f"{{{','.join(table)}}}|MODULE:ATTRIBUTE" in shown
