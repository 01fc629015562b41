"""NPZ archives of other toolboxes: what is read, and what is refused."""

import numpy as np
import pytest

from evaluation.features.files import read_features


def archive(tmp_path, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "query_features": rng.normal(size=(3, 4)),
        "gallery_features": rng.normal(size=(5, 4)).astype(np.float32),
        "query_identities": np.arange(3, dtype=np.int32),
        "gallery_identities": np.arange(-1, 4),
        "query_cameras": np.zeros(3, np.uint8),
        "gallery_cameras": np.ones(5, np.int64),
    }
    path = str(tmp_path / "f.npz")
    np.savez(path, **{key: value for key, value in (arrays | changes).items() if value is not None})
    return path


def test_the_six_arrays_are_enough(tmp_path):
    features = read_features(archive(tmp_path))
    assert features.feature.shape == (8, 4)
    assert features.feature.dtype == np.float32
    assert features.split.tolist() == ["query"] * 3 + ["gallery"] * 5
    assert features.identity.tolist() == [0, 1, 2, -1, 0, 1, 2, 3]
    assert features.camera.tolist() == [0] * 3 + [1] * 5
    assert np.isnan(features.time_seconds).all()
    assert features.path.tolist()[2:4] == ["query 2", "gallery 0"]
    assert set(features.model_fingerprint) == {"unknown"}


def test_times_paths_and_the_model_are_read(tmp_path):
    paths = {"query_paths": np.array(["a", "b", "c"]), "gallery_paths": np.array(list("defgh"))}
    times = {"query_seconds": np.arange(3), "gallery_seconds": np.arange(5) / 2}
    features = read_features(archive(tmp_path, **paths, **times, model_fingerprint=np.array("m1")))
    assert "".join(features.path) == "abcdefgh"
    assert features.time_seconds.tolist() == [0, 1, 2, 0, 0.5, 1, 1.5, 2]
    assert set(features.model_fingerprint) == {"m1"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gallery_cameras": None}, "has no gallery_cameras; it needs features, identities and cameras"),
        ({"query_identities": np.array(["a", "b", "c"])}, r"query_identities must be integers \[N\], got <U1"),
        ({"query_identities": np.array([1.0, 2, 3])}, r"query_identities must be integers \[N\], got float64"),
        ({"query_identities": np.array([1, 2, -3])}, r"identities must be >= -1 \(-1 is junk\), got -3"),
        ({"query_identities": np.array([1, 2])}, "query_features has 3 rows where the identities are 2"),
        ({"gallery_cameras": np.array([1, 2])}, "gallery_cameras has 2 rows where the identities are 5"),
        ({"gallery_features": np.ones((5, 3))}, "queries have 4 components and the gallery 3"),
        ({"gallery_features": np.ones(5)}, r"gallery_features must be floats \[N, D\], got float64 \[5\]"),
        ({"gallery_features": np.full((5, 4), np.nan)}, "5 features hold NaN or infinity, the first in row 3"),
        ({"query_seconds": np.arange(3)}, "has seconds of query or gallery only"),
        ({"query_cameras": np.array([1, None, 2], object)}, "query_cameras holds Python objects, which are not read"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path, changes, message):
    with pytest.raises(ValueError, match=rf"f\.npz: .*{message}"):
        read_features(archive(tmp_path, **changes))


def test_garbage_is_refused(tmp_path):
    (tmp_path / "g.npz").write_bytes(b"PK garbage")
    with pytest.raises(ValueError, match=r"g\.npz: not a NumPy archive"):
        read_features(str(tmp_path / "g.npz"))
