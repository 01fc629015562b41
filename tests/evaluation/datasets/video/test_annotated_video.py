"""Sequences of MOTChallenge and videos beside their boxes: the same recording either way, and what is refused."""

import numpy as np
import pytest

from evaluation.datasets.video.annotated_video import open_annotated_video, read_frames
from tests.evaluation.datasets.video import drawn_sequence as drawn

IGNORED = ("1,7,1,1,12,40,0,1,1.0", "1,8,1,1,12,40,1,3,1.0", "2,9,1,1,12,40,1,7,1.0")
"""Not considered, a car, a person who stands still behind glass or the like."""


def as_tuples(video):
    return [(box.frame, box.identity, box.left, box.top, box.width, box.height) for box in video.boxes]


def test_sequence_and_video_hold_the_same(tmp_path):
    sequence = open_annotated_video(str(drawn.write_sequence(tmp_path / "MOT", IGNORED)))
    video = open_annotated_video(str(drawn.write_video(tmp_path)))
    expected = sorted(drawn.boxes(), key=lambda box: (box[1], box[0]))
    for recording in (sequence, video):
        assert as_tuples(recording) == expected
        assert (recording.fps, recording.width, recording.height) == (drawn.FPS, drawn.WIDTH, drawn.HEIGHT)
        frames = dict(read_frames(recording, {2, 17, 5}))
        assert list(frames) == [2, 5, 17]
        for number, image in frames.items():
            assert np.abs(image.astype(int) - drawn.picture(number)).mean() < 8


def test_other_columns_and_places(tmp_path):
    video = str(drawn.write_video(tmp_path, identity="id"))
    (tmp_path / "drawn.gt.csv").rename(tmp_path / "true.csv")
    with pytest.raises(ValueError, match=r"drawn\.gt\.csv: no such file of true boxes"):
        open_annotated_video(video)
    assert len(open_annotated_video(video, str(tmp_path / "true.csv")).boxes) == len(drawn.boxes())
    folder = drawn.write_sequence(tmp_path / "MOT15")
    (folder / "gt" / "gt.txt").write_text(
        "2,1,11,21,5,6,1,-1,-1,-1\n1,1,1.5,2,3,4,1,2.5,7,0\n1,2,1,2,3,4,0,1,1,1\n", encoding="utf-8"
    )
    assert as_tuples(open_annotated_video(str(folder))) == [(1, 1, 0.5, 1, 3, 4), (2, 1, 10, 20, 5, 6)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,3,4,5,6", "line 1: needs 9 values"),
        ("1,3,4,5,6,x,1,1,1", "line 1: needs numbers only, got 1,3,4,5,6,x"),
        ("1,3,4,5,6,nan,1,1,1", "line 1: needs numbers only"),
        ("1,0,4,5,6,7,1,1,1", "whole and count from 1, got 1 and 0"),
        ("0.5,1,4,5,6,7,1,1,1", "whole and count from 1, got 0.5 and 1"),
        ("1,1,4,5,0,7,1,1,1", "a width and a height > 0, got 0 and 7"),
        ("1,1,4,5,6,7,1,1,1\n1,1,4,5,6,7,1,1,1", "identity 1 is twice in frame 1"),
        ("1,1,4,5,6,7,0,1,1", "has no boxes of people"),
    ],
)
def test_lines_that_are_refused(tmp_path, line, message):
    folder = drawn.write_sequence(tmp_path / "MOT")
    (folder / "gt" / "gt.txt").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        open_annotated_video(str(folder))


def test_recordings_that_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.mp4: no such video"):
        open_annotated_video(str(tmp_path / "absent.mp4"))
    folder = drawn.write_sequence(tmp_path / "MOT")
    (folder / "seqinfo.ini").write_text("[Sequence]\nframeRate=30\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"seqinfo\.ini: no \[Sequence\] with frameRate, imWidth and imHeight"):
        open_annotated_video(str(folder))
    (folder / "seqinfo.ini").unlink()
    with pytest.raises(ValueError, match=r"seqinfo\.ini: no such file; give a sequence folder"):
        open_annotated_video(str(folder))
    video = drawn.write_video(tmp_path)
    with pytest.raises(ValueError, match=r"has 17 frames and boxes in frame 18; are the boxes of this video"):
        list(read_frames(open_annotated_video(str(video)), {3, 18}))
    video.write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"drawn\.mp4: cannot decode the video"):
        open_annotated_video(str(video))
    (tmp_path / "drawn.gt.csv").write_text("frame,identity,left,top,width\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"drawn\.gt\.csv has no column height"):
        open_annotated_video(str(video))
