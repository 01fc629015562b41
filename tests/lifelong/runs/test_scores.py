"""Unseen sets, merged and averaged: a closed form on features by hand; QAConv of maps; what is embedded again."""

import numpy as np
import pytest

from evaluation.datasets.registry import read_dataset
from evaluation.features.files import maps_location
from evaluation.features.parquet import write_features
from evaluation.features.table import Features
from evaluation.qaconv.maps import open_maps
from lifelong.runs.backend import LocalBackend
from lifelong.runs.embed import embed_missing
from lifelong.runs.scores import (
    BenchmarkScoring,
    matcher_of,
    score_model,
    score_together,
)
from pretrain.models.config import ModelConfig
from pretrain.models.directory import MATCHING_FILE, load_embedder, write_model
from pretrain.models.encoder import make_encoder
from pretrain.models.matching import matching_branch
from tests.lifelong.people import write_people

MARKET = BenchmarkScoring()


def one_query(degrees: float, match: float, other: float) -> Features:
    """A dataset: a query of person 1 by camera 1; person 1 and person 2 by camera 2; all at angles on a circle."""
    angle = np.radians([degrees, match, other])
    return Features(
        feature=np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32),
        identity=np.array([1, 1, 2]),
        camera=np.array([1, 2, 2]),
        time_seconds=np.full(3, np.nan),
        path=np.array(["q", "a", "b"], object),
        split=np.array(["query", "gallery", "gallery"], object),
        model_fingerprint=np.full(3, "m", object),
    )


@pytest.fixture
def files(tmp_path):
    """In its own gallery, each query finds its match first; the other dataset's person 2 is nearer still."""
    tables = {"x": one_query(0, 10, 90), "y": one_query(100, 180, 5)}
    locations = {name: str(tmp_path / f"{name}.parquet") for name in tables}
    for name, table in tables.items():
        write_features(locations[name], table)
    return locations


def test_merged_and_averaged_are_two_numbers(files):
    found = score_model({"x": files["x"]}, files, "cosine", MARKET)
    assert found["seen"] == {"mAP": 1.0, "rank1": 1.0}
    unseen = found["unseen"]
    assert {name: one["mAP"] for name, one in unseen["datasets"].items()} == {"x": 1.0, "y": 1.0}
    assert unseen["averaged"] == {"mAP": 1.0, "rank1": 1.0}
    assert (unseen["merged"]["mAP"], unseen["merged"]["rank1"]) == (0.5, 0.0)
    assert (unseen["merged"]["num_queries"], unseen["merged"]["num_gallery"]) == (2, 4)


def test_people_and_cameras_of_two_datasets_are_never_the_same(files):
    """Merged with itself under another name, each query still has one match: the twin is somebody else."""
    twins = score_together([files["x"], files["x"]], "cosine", MARKET)
    assert twins["mAP"] == pytest.approx((1 + 0.5) / 2)


def test_a_mean_counts_every_dataset_once(files, tmp_path):
    write_features(str(tmp_path / "z.parquet"), one_query(0, 90, 10))
    found = score_model(files | {"z": str(tmp_path / "z.parquet")}, {}, "cosine", MARKET)
    assert found["seen"] == pytest.approx({"mAP": (1 + 1 + 0.5) / 3, "rank1": 2 / 3})
    assert "unseen" not in found


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A model with a matching branch, and the tested images of two datasets."""
    folder = tmp_path_factory.mktemp("drawn")
    config = ModelConfig(architecture="tiny", embedding_size=8, height=32, width=16)
    model = str(folder / "model")
    tensors = {name: tensor.contiguous() for name, tensor in make_encoder(config, seed=0).state_dict().items()}
    matching = {name: tensor.contiguous() for name, tensor in matching_branch(config, seed=0).state_dict().items()}
    write_model(tensors, config, model, recipe="x", step=0, card="", matching=matching)
    rows = {}
    for seed, name in enumerate(("north", "south")):
        write_people(folder / name, people=3, seed=seed)
        rows[name] = [row for row in read_dataset(str(folder / name)) if row.split != "train"]
    return model, rows


class Counting(LocalBackend):
    def __init__(self):
        self.embedded = []

    def embed(self, rows, model, **options):
        self.embedded.append(len(rows))
        return super().embed(rows, model, **options)

    def embed_maps(self, rows, model, out, *, use_gpu):
        self.embedded.append(out)
        super().embed_maps(rows, model, out, use_gpu=use_gpu)


def test_features_are_written_once_and_maps_beside_them(drawn, tmp_path):
    model, rows = drawn
    files = {name: str(tmp_path / f"{name}.parquet") for name in rows}
    datasets = {files[name]: rows[name] for name in rows}
    backend = Counting()
    for _ in range(2):
        embed_missing(datasets, model, backend, use_gpu=False)
    assert backend.embedded == [36], "one pass over both datasets"
    cosine = score_together(list(files.values()), "cosine", MARKET)
    for _ in range(2):
        embed_missing(datasets, model, backend, use_gpu=False, with_maps=True)
    assert backend.embedded[1:] == list(files.values())
    assert matcher_of(model, MARKET) == "qaconv"
    with open_maps(maps_location(files["north"])) as maps:
        head = load_embedder(model).head
        assert maps.head is not None
        assert head is not None
        np.testing.assert_array_equal(maps.head.query_weight, head.query_weight)
    assert score_together(list(files.values()), "cosine", MARKET)["mAP"] == pytest.approx(cosine["mAP"])
    for bound, exact in ((100, True), (3, False)):
        found = score_together(list(files.values()), "qaconv", BenchmarkScoring(exact_up_to=bound))
        assert (found["matcher"], found["exact"], found["num_gallery"]) == ("qaconv", exact, 24)
        assert 0 < found["mAP"] <= 1


def test_qaconv_is_taken_where_the_model_has_its_branch(tmp_path):
    assert matcher_of(str(tmp_path), MARKET) == "cosine"
    (tmp_path / MATCHING_FILE).touch()
    assert matcher_of(str(tmp_path), MARKET) == "qaconv"
    assert matcher_of(str(tmp_path), BenchmarkScoring(matcher="cosine")) == "cosine"
    assert maps_location("/f/by-01.parquet") == "/f/by-01.maps"


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="there is no protocol 'markt'"):
        BenchmarkScoring(protocol="markt")
    with pytest.raises(ValueError, match="exact-up-to must be >= 0, got -1"):
        BenchmarkScoring(exact_up_to=-1)
