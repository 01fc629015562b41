"""The truth: whose box a mined box is, and the file that it is read from."""

from pathlib import Path

import numpy as np
import pytest

from pretrain.data.truth import NOBODY, TrueFrame, assign_identities, read_truth, truth_of_video


def test_a_crop_belongs_to_the_true_box_that_it_overlaps_most():
    frame = TrueFrame(np.array([7, 8]), np.array([[0.0, 0, 20, 40], [12, 0, 20, 40]]))
    boxes = np.array([[2.0, 0, 20, 40], [9, 0, 20, 40], [100, 0, 20, 40], [0, 0, 20, 20.1], [0, 0, 20, 19.9]])
    assert assign_identities(boxes, frame).tolist() == [7, 8, NOBODY, 7, NOBODY]
    assert assign_identities(boxes, None).tolist() == [NOBODY] * 5
    assert assign_identities(boxes[:0], frame).tolist() == []


def test_truth_is_found_by_id_name_or_stem():
    frames = {1: TrueFrame(np.array([1]), np.zeros((1, 4)))}
    for key in ("yard/cam1.mp4", "cam1.mp4", "cam1", ""):
        assert truth_of_video({key: frames, "other": {}}, "yard/cam1.mp4") is frames
    with pytest.raises(ValueError, match=r"the truth has no video 'yard/cam1\.mp4'; it has: cam2, cam3"):
        truth_of_video({"cam3": frames, "cam2": frames}, "yard/cam1.mp4")


def test_truth_is_read_with_and_without_video_names(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text(
        "video,frame,identity,left,top,width,height\na,1,7,1,2,3,4\na,1,8,5,6,7,8\nb,2,7,1,1,1,1\n", encoding="utf-8"
    )
    found = read_truth(str(path))
    assert found["a"][1].identities.tolist() == [7, 8]
    assert found["a"][1].boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert list(found["b"]) == [2]
    path.write_text("frame,identity,left,top,width,height\n3,7,1,2,3,4\n", encoding="utf-8")
    assert list(read_truth(str(path))[""]) == [3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame,identity,left\n", r"lacks the columns top,width,height; needed: \[video,\]frame,identity"),
        ("frame,identity,left,top,width,height\n1,2,3,4,5,x\n", "line 2: not a row of numbers"),
        ("frame,identity,left,top,width,height\n1,2,3\n", "line 2: not a row of numbers"),
        (None, "does not exist; --truth takes a CSV"),
    ],
)
def test_a_broken_truth_is_refused(tmp_path: Path, text: str | None, message: str):
    path = tmp_path / "t.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_truth(str(path))
