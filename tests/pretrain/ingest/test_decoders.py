"""Decoders and the probe, on real H.264 files whose frames carry their numbers."""

import itertools
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pretrain.ingest.decoders import DecordDecoder, PyAvDecoder, Segment, make_decoder, probe, split
from tests.pretrain.ingest.films import FPS, cut_file, film, read_stamp, write_film

FRAMES = 90
DECODERS = ("pyav", "decord")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    write_film(folder / "end.mp4", film(FRAMES), gop=20, b_frames=2)
    write_film(folder / "start.mp4", film(FRAMES), gop=20, b_frames=2, faststart=True)
    write_film(folder / "plain.mp4", film(FRAMES), gop=30, b_frames=0)
    write_film(folder / "uneven.mp4", film(40), gop=10, milliseconds=uneven_times(40))
    return folder


def uneven_times(frames: int) -> list[int]:
    return [100 * number + (0, 30, 70)[number % 3] for number in range(frames)]


def segments_of(path: Path, seconds: float) -> list[Segment]:
    return split(path.name, str(path), probe(str(path)), seconds)


def has_b_frames(path: Path) -> bool:
    with av.open(str(path)) as container:
        decode_order = [packet.pts for packet in container.demux(video=0) if packet.size]
    return decode_order != sorted(decode_order)


def test_the_probe_lists_frames_key_frames_and_rate(videos: Path):
    info = probe(str(videos / "end.mp4"))
    assert len(info.timestamps) == FRAMES
    assert info.keyframes.tolist() == [1, 21, 41, 61, 81]
    assert info.fps == pytest.approx(FPS)
    seconds = (info.timestamps - info.timestamps[0]) * info.time_base_seconds
    assert seconds == pytest.approx(np.arange(FRAMES) / FPS)


@pytest.mark.parametrize("name", ["end.mp4", "plain.mp4", "uneven.mp4"])
@pytest.mark.parametrize("seconds", [0.1, 2.5, 4.0, 100.0])
def test_segments_hold_every_frame_once_and_start_at_key_frames(videos: Path, name: str, seconds: float):
    info = probe(str(videos / name))
    segments = split(name, "somewhere", info, seconds)
    assert np.concatenate([segment.timestamps for segment in segments]).tolist() == info.timestamps.tolist()
    assert {segment.first_frame for segment in segments} <= set(info.keyframes.tolist())
    assert [segment.first_frame for segment in segments] == np.cumsum(
        [1, *(len(segment.timestamps) for segment in segments[:-1])]
    ).tolist()
    starts = [segment.seconds(0) for segment in segments]
    assert all(later - earlier >= seconds for earlier, later in itertools.pairwise(starts))
    assert len({segment.name for segment in segments}) == len(segments)


def test_frames_before_the_first_key_frame_belong_to_no_segment(videos: Path):
    info = probe(str(videos / "end.mp4"))
    segments = split("v", "somewhere", replace(info, keyframes=info.keyframes[1:]), 100.0)
    assert [(segment.first_frame, len(segment.timestamps)) for segment in segments] == [(21, FRAMES - 20)]
    assert segments[0].seconds(0) == pytest.approx(2.0), "times count from the video's first frame all the same"


@pytest.mark.parametrize("stride", [1, 3, 7, 100])
def test_samples_are_counted_from_the_start_of_the_video(videos: Path, stride: int):
    numbers = [
        segment.first_frame + position
        for segment in segments_of(videos / "end.mp4", 2.0)
        for position in segment.sampled(stride).tolist()
    ]
    assert numbers == list(range(1, FRAMES + 1, stride))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", ["end.mp4", "start.mp4", "plain.mp4"])
@pytest.mark.parametrize("stride", [1, 4, 33])
def test_decoded_frames_are_the_ones_that_were_asked_for(videos: Path, decoder: str, name: str, stride: int):
    segments = segments_of(videos / name, 4.0)
    assert len(segments) > 1
    frames = [frame for segment in segments for frame in make_decoder(decoder).frames(segment, stride)]
    assert [frame.index for frame in frames] == list(range(1, FRAMES + 1, stride))
    assert [read_stamp(frame.image) for frame in frames] == [frame.index for frame in frames]
    assert [frame.time_seconds for frame in frames] == pytest.approx([(frame.index - 1) / FPS for frame in frames])
    assert frames[0].image.shape == (240, 320, 3)
    assert frames[0].image.dtype == np.uint8


def test_the_films_have_b_frames_where_they_should(videos: Path):
    assert has_b_frames(videos / "end.mp4")
    assert not has_b_frames(videos / "plain.mp4")


def test_both_decoders_see_the_same_pixels(videos: Path):
    segment = segments_of(videos / "end.mp4", 4.0)[1]
    for ours, theirs in zip(PyAvDecoder().frames(segment, 9), DecordDecoder().frames(segment, 9), strict=True):
        assert np.abs(ours.image.astype(int) - theirs.image.astype(int)).mean() < 4


@pytest.mark.parametrize("decoder", DECODERS)
def test_uneven_times_are_those_of_the_file(videos: Path, decoder: str):
    expected = uneven_times(40)
    for segment in segments_of(videos / "uneven.mp4", 1.5):
        for frame in make_decoder(decoder).frames(segment, 3):
            assert read_stamp(frame.image) == frame.index
            assert frame.time_seconds == pytest.approx(expected[frame.index - 1] / 1000, abs=1e-3)


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_stride_that_skips_a_whole_segment_gives_nothing(videos: Path, decoder: str):
    assert list(make_decoder(decoder).frames(segments_of(videos / "end.mp4", 2.0)[1], 1000)) == []


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("end.mp4", "truncated or not a video"),
        ("start.mp4", f"truncated: the header promises {FRAMES} frames, \\d+ are"),
    ],
)
def test_a_truncated_file_is_refused(videos: Path, tmp_path: Path, name: str, reason: str, share: float):
    path = cut_file(videos / name, tmp_path / "cut.mp4", share)
    with pytest.raises(ValueError, match=reason):
        probe(str(path))


def test_what_is_no_video_is_refused(tmp_path: Path):
    text, empty, tone = tmp_path / "text.mp4", tmp_path / "empty.mp4", tmp_path / "tone.mp4"
    text.write_text("not a film\n" * 100, encoding="utf-8")
    empty.touch()
    with av.open(str(tone), "w") as container:
        track = container.add_stream("aac", rate=16000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate, silence.time_base, silence.pts = 16000, Fraction(1, 16000), 0
        container.mux([*track.encode(silence), *track.encode(None)])
    for path, reason in [
        (text, "cannot be opened as a video"),
        (empty, "cannot be opened as a video"),
        (tone, "no video stream in the file"),
        (tmp_path / "absent.mp4", "the file does not exist"),
    ]:
        with pytest.raises(ValueError, match=reason):
            probe(str(path))


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_file_that_shrank_after_the_probe_is_an_error(videos: Path, tmp_path: Path, decoder: str):
    segment = segments_of(videos / "start.mp4", 100.0)[0]
    cut_file(videos / "start.mp4", tmp_path / "cut.mp4", 0.5)
    with pytest.raises(ValueError, match="decoding"):
        list(make_decoder(decoder).frames(replace(segment, location=str(tmp_path / "cut.mp4")), 5))


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_frame_that_is_not_there_is_an_error(videos: Path, decoder: str):
    segment = segments_of(videos / "end.mp4", 4.0)[-1]
    beyond = np.append(segment.timestamps, segment.timestamps[-1] + 1024)
    with pytest.raises(ValueError, match="decoding"):
        list(make_decoder(decoder).frames(replace(segment, timestamps=beyond), 1))


def test_damage_in_one_segment_leaves_the_next_alone(videos: Path, tmp_path: Path):
    """Decoding begins at the segment's own key frame, and what is broken is an error, not a skipped frame."""
    path = tmp_path / "damaged.mp4"
    data = bytearray((videos / "end.mp4").read_bytes())
    data[4000:9000] = bytes(5000)
    path.write_bytes(data)
    first, second, *_ = segments_of(path, 4.0)
    with pytest.raises(ValueError, match="decoding"):
        list(PyAvDecoder().frames(first, 1))
    assert [read_stamp(frame.image) for frame in PyAvDecoder().frames(second, 1)][:3] == [41, 42, 43]
