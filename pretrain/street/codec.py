"""H.264 in MP4, written and read with PyAV."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import BinaryIO, cast

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

QUALITY = 25
"""libx264's constant rate factor: visible compression, as cheap cameras have."""
GOP_SECONDS = 2


def write_video(target: str | BinaryIO, frames: Iterable[np.ndarray], *, size: tuple[int, int], fps: int) -> None:
    """Encode frames as H.264 (yuv420p) in MP4.

    Args:
        target: A local path, or a stream that can seek.
        frames: uint8 [H, W, 3] BGR each; consumed one by one.
        size: Width and height in pixels, both even.
        fps: Frames per second.
    """
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = max(1, min(30, GOP_SECONDS * fps))
        stream.codec_context.thread_count = 1  # cameras are what runs in parallel
        stream.codec_context.time_base = Fraction(1, fps)
        # As cameras encode: live, without looking ahead. libx264's look-ahead (macroblock tree) also gave other bytes
        # in each run on a machine with AVX-512.
        stream.options = {"crf": str(QUALITY), "preset": "veryfast", "tune": "zerolatency"}
        for number, picture in enumerate(frames):
            planes = cast("np.ndarray", cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420))
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def read_video(source: str | BinaryIO) -> Iterator[np.ndarray]:
    """Decode a video frame by frame: uint8 [H, W, 3] BGR each."""
    converter = VideoReformatter()  # one for all frames, and one thread: half the time of a new one for each frame
    with av.open(source, "r") as container:
        for frame in container.decode(video=0):
            yield converter.reformat(frame, format="bgr24", threads=1).to_ndarray()
