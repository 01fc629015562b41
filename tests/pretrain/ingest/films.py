"""Tiny real films for the tests: coloured people walk in front of a still wall; every frame carries its number."""

import csv
import json
import shutil
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.images import encode_jpeg
from pretrain.ingest.clips import SCHEMA_VERSION, make_clip, write_clips

HEIGHT, WIDTH, FPS = 240, 320, 10
BITS, BLOCK = 10, 16
"""The number stands in the top left corner, lowest bit first, as blocks that survive the encoder."""
SHIRTS = ((220, 40, 40), (40, 60, 220), (240, 220, 40))
TROUSERS = ((20, 20, 200), (250, 250, 250), (20, 220, 20))


def wall(seed: int = 0) -> NDArray[np.uint8]:
    """Draw a still, softly textured background."""
    noise = np.random.default_rng(seed).integers(90, 150, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)


def people_at(number: int, people: int) -> NDArray[np.float64]:
    """Return where everybody is in a frame, counted from 1: [people, 4] left, top, width, height."""
    # Back and forth, a body's width in half a second, each in a lane of its own: nobody hides anybody.
    across = [abs((start + 5 * number) % 560 - 280) + 6 for start in (0, 190, 370)][:people]
    return np.array([(left, 30 + 70 * lane, 28, 54) for lane, left in enumerate(across)], dtype=np.float64).reshape(
        -1, 4
    )


def scene(number: int, people: int, background: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw a frame."""
    image = background.copy()
    for person, (left, top, width, height) in enumerate(people_at(number, people).astype(int).tolist()):
        middle = top + height // 2
        image[top:middle, left : left + width] = SHIRTS[person]
        image[middle : top + height, left : left + width] = TROUSERS[person]
    return stamp(image, number)


def stamp(image: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Write a number into a frame's top rows."""
    for bit in range(BITS):
        image[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)
    return image


def read_stamp(image: NDArray[np.uint8]) -> int:
    """Read the number back."""
    blocks = [image[4:12, bit * BLOCK + 4 : bit * BLOCK + 12].mean() > 128 for bit in range(BITS)]
    return sum(1 << bit for bit, is_set in enumerate(blocks) if is_set)


def film(frames: int, people: int = 2, *, seed: int = 0, empty: int = 0) -> list[NDArray[np.uint8]]:
    """Draw all frames of a film; the first ones may be empty of people."""
    background = wall(seed)
    return [scene(number, people if number > empty else 0, background) for number in range(1, frames + 1)]


def write_film(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    *,
    gop: int = 20,
    b_frames: int = 2,
    faststart: bool = False,
    milliseconds: Sequence[int] | None = None,
) -> Path:
    """Encode frames as H.264 in MP4, at `FPS` or at given times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as container:
        track = container.add_stream("libx264", rate=FPS)
        track.height, track.width, track.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        track.options = {"g": str(gop), "bf": str(b_frames), "sc_threshold": "0", "preset": "veryfast", "crf": "18"}
        if milliseconds is not None:
            track.time_base = track.codec_context.time_base = Fraction(1, 1000)
        for position, image in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            if milliseconds is not None:
                picture.pts, picture.time_base = milliseconds[position], Fraction(1, 1000)
            container.mux(track.encode(picture))
        container.mux(track.encode(None))
    return path


def write_sidecar(video: Path, frames: int, people: int) -> Path:
    """Write the true boxes beside a film, as the detector ``boxes`` and the audit read them."""
    path = video.with_suffix(".gt.csv")
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("frame", "identity", "left", "top", "width", "height"))
        for number in range(1, frames + 1):
            for identity, box in enumerate(people_at(number, people).tolist()):
                writer.writerow((number, identity, *box))
    return path


def cut_file(source: Path, target: Path, share: float) -> Path:
    """Keep the first part of a file, as a broken download does."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def write_folder(folder: Path) -> Path:
    """Write two good films of 10 s with sidecars, one cut short, and one that is no film."""
    for name, people in (("a.mp4", 2), ("yard/b.mp4", 3)):
        video = write_film(folder / name, film(100, people), gop=10)
        write_sidecar(video, 100, people)
    cut_file(folder / "a.mp4", folder / "cut.mp4", 0.6)
    shutil.copy(folder / "a.gt.csv", folder / "cut.gt.csv")
    (folder / "notes.mp4").write_text("this is no film\n" * 20, encoding="utf-8")
    return folder


def write_clips_directory(folder: Path, *, videos: int = 2, clips: int = 6, people: int = 3) -> Path:
    """Write finished clips, four frames each, with the crops cut out of drawn frames: no decoding, no Ray."""
    for video in range(videos):
        background = wall(video)
        rows = []
        for clip in range(clips):
            numbers = [1 + 40 * clip + 10 * step for step in range(4)]
            frames = [_cut_people(number, scene(number, people, background), people) for number in numbers]
            rows.append(make_clip(f"{video}.mp4", float(FPS), frames))
        write_clips(str(folder / "clips" / f"{video}.parquet"), rows)
    (folder / "report.json").write_text(
        json.dumps({"schema_version": SCHEMA_VERSION, "videos": [], "totals": {}}), encoding="utf-8"
    )
    return folder


def _cut_people(number: int, image: NDArray[np.uint8], people: int) -> dict:
    crops = []
    for left, top, width, height in people_at(number, people).astype(int).tolist():
        jpeg = encode_jpeg(image[top : top + height, left : left + width], max_height=100)
        box = {"left": left, "top": top, "width": width, "height": height, "score": 1.0}
        crops.append({"jpeg": jpeg, **{name: float(value) for name, value in box.items()}})
    return {"frame_index": number, "time_seconds": (number - 1) / FPS, "crops": crops}
