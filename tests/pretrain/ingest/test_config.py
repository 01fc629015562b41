"""The configuration of an ingestion as a value, and the refusal of values that cannot work."""

import json
import re

import pytest

from cluster.values import from_json, to_json
from pretrain.ingest.config import IngestConfig
from tests.cluster.test_values import assert_every_field_counts

YOLOX = IngestConfig(detector="yolox", detector_weights="file.onnx", min_score=0.25)


@pytest.mark.parametrize("config", [YOLOX, IngestConfig()])
def test_json_text_gives_the_same_value_back(config):
    assert from_json(IngestConfig, json.loads(json.dumps(to_json(config)))) == config


def test_every_field_changes_the_fingerprint_and_is_listed_as_the_only_difference():
    assert_every_field_counts(IngestConfig())


def test_files_of_other_versions_are_refused():
    with pytest.raises(ValueError, match=r"unknown fields \['gpu'\], missing fields \[\]; use the version that wrote"):
        from_json(IngestConfig, {**to_json(YOLOX), "gpu": 1})


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"stride": 0}, "stride must be >= 1 frame, got 0"),
        ({"clip_seconds": 0.0}, "clip-seconds must be > 0, got 0.0"),
        ({"segment_seconds": 3.0}, "segment-seconds must be >= clip-seconds, got 3.0"),
        ({"min_score": 1.5}, "min-score must be in [0, 1], got 1.5"),
        ({"min_height": 0}, "min-height must be >= 1 pixel, got 0"),
        ({"min_aspect": 0.0}, "min-aspect must be in (0, max-aspect), got 0.0"),
        ({"min_aspect": 5.0}, "min-aspect must be in (0, max-aspect), got 5.0"),
        ({"max_overlap": -0.1}, "max-overlap must be in [0, 1], got -0.1"),
        ({"max_cut_distance": 2.0}, "max-cut-distance must be in [0, 1], got 2.0"),
        ({"min_people": 0}, "min-people must be in [1, max-people], got 0"),
        ({"min_people": 13}, "min-people must be in [1, max-people], got 13"),
        ({"jpeg_quality": 101}, "jpeg-quality must be in [1, 100], got 101"),
        ({"max_crop_height": 15}, "max-crop-height must be >= 16 pixels, got 15"),
        ({"segment_timeout_seconds": 0.0}, "segment-timeout-seconds must be > 0, got 0.0"),
        ({"detector": "yolox"}, "detector yolox needs its file: add --detector-weights"),
    ],
)
def test_values_that_cannot_work_are_refused_with_their_name_and_value(values, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        IngestConfig(**values)
