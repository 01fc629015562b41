"""What a head refuses, and its file. That folding is right is tested with the scores."""

import numpy as np
import pytest

from cluster import storage
from evaluation.qaconv.head import QAConvHead, read_head, write_head
from tests.evaluation.qaconv.test_scores import random_head, random_parameters


@pytest.mark.parametrize("other", [None, 3])
def test_a_head_survives_its_file_to_the_last_bit(tmp_path, other):
    head = random_head(0, 4, other)
    write_head(str(tmp_path / "head.json"), head)
    found = read_head(str(tmp_path / "head.json"))
    for ours, theirs in zip(head.weights, found.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (found.scale, found.shift, found.gallery_weight is None) == (head.scale, head.shift, other is None)


def test_wrong_files_are_refused(tmp_path):
    location = str(tmp_path / "head.json")
    with pytest.raises(ValueError, match=r"head\.json: no such file"):
        read_head(location)
    storage.write_json(location, {"weights": [1]})
    with pytest.raises(ValueError, match="not a QAConv head: it has query_weight"):
        read_head(location)
    storage.write_json(location, {"query_weight": ["a"], "gallery_weight": None, "scale": 1, "shift": 0})
    with pytest.raises(ValueError, match=r"not a QAConv head \(could not convert"):
        read_head(location)


def test_wrong_parameters_are_refused():
    parameters = random_parameters(0, 6)
    with pytest.raises(ValueError, match=r"fc.weight has 6 entries; maps of 4 locations need that or twice"):
        QAConvHead.fold(parameters, num_locations=4)
    with pytest.raises(ValueError, match="scale must be > 0 and shift finite, got 0"):
        QAConvHead.fold({**parameters, "bn.weight": [0.0]}, num_locations=6)
    del parameters["bn.bias"]
    with pytest.raises(ValueError, match=r"the matcher has no bn\.bias"):
        QAConvHead.fold(parameters, num_locations=6)
    with pytest.raises(ValueError, match="scale must be > 0 and shift finite, got -1"):
        QAConvHead(query_weight=np.float32([1]), scale=-1)
    with pytest.raises(ValueError, match=r"query weights must be finite float32 \[L\], got float64"):
        QAConvHead(query_weight=np.array([1.0]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one location, got 0"):
        QAConvHead.uniform(0)
