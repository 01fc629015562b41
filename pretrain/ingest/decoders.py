"""Reading frames out of video files, behind one small protocol, and the probe that decides whether a file is usable.

Frames are numbered from 1 in display order, as in MOT truth files. The probe reads packets only (no pixels) and lists
every frame's timestamp, so that a decoder which starts in the middle of a file still knows each frame's number, also
when the frame rate varies or a frame is lost.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from cluster import storage
from cluster.errors import InputError

FRAMES_PER_DECORD_BATCH = 32


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame."""

    index: int
    """Frame number in the video, from 1."""
    time_seconds: float
    """Time since the video's first frame."""
    image: NDArray[np.uint8]
    """RGB, uint8 [H, W, 3]."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What the probe found out about a readable video."""

    timestamps: NDArray[np.int64]
    """Presentation timestamp of every frame in display order, in units of `time_base_seconds`."""
    keyframes: NDArray[np.int64]
    """Frame numbers (from 1) at which decoding can start, increasing."""
    time_base_seconds: float
    """Seconds per timestamp unit."""
    fps: float
    """Mean frame rate."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of frames that one worker decodes in one pass; it begins at a key frame."""

    video_id: str
    """Name of the video inside its clips directory."""
    location: str
    """Where the file is."""
    first_frame: int
    """Number of the first frame, from 1."""
    timestamps: NDArray[np.int64]
    """Presentation timestamps of the segment's frames, increasing."""
    origin: int
    """Timestamp of the video's first frame."""
    time_base_seconds: float
    """Seconds per timestamp unit."""
    fps: float
    """Mean frame rate of the video."""

    @property
    def name(self) -> str:
        """Name of the segment inside its video: the first frame's number."""
        return f"{self.first_frame:09d}"

    def seconds(self, position: int) -> float:
        """Time of the frame at a position of `timestamps`, since the video's first frame."""
        return float(int(self.timestamps[position]) - self.origin) * self.time_base_seconds

    def sampled(self, stride: int) -> NDArray[np.int64]:
        """Positions in `timestamps` of every stride-th frame, counted from the start of the video."""
        first = -(self.first_frame - 1) % stride
        return np.arange(first, len(self.timestamps), stride, dtype=np.int64)


class Decoder(Protocol):
    """Decodes a segment sequentially."""

    def frames(self, segment: Segment, stride: int) -> Iterator[Frame]:
        """Yield every stride-th frame of a segment in order.

        Raises:
            InputError: If the file cannot be decoded to the end of the segment.
        """
        ...


def probe(location: str) -> VideoInfo:
    """List the frames of a video without decoding it.

    Raises:
        InputError: If the file is missing, no video, truncated, or has no timestamps; the message is the reason for
            its quarantine.
    """
    try:
        with storage.open_for_reading(location) as stream, av.open(stream, mode="r") as container:
            if not container.streams.video:
                raise InputError("no video stream in the file")
            track = container.streams.video[0]
            packets = [
                (packet.pts if packet.pts is not None else packet.dts, packet.is_keyframe)
                for packet in container.demux(track)
                if packet.size
            ]
            promised, time_base = track.frames, track.time_base
    except FileNotFoundError as error:
        raise InputError("the file does not exist") from error
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(
            f"cannot be opened as a video ({error.strerror or error}); truncated or not a video"
        ) from error
    if not packets or time_base is None:
        raise InputError("the file holds no frames")
    if any(time is None for time, _ in packets):
        raise InputError("frames without timestamps; rewrite it with: ffmpeg -fflags +genpts -i IN -c copy OUT.mp4")
    if promised and len(packets) < promised:
        raise InputError(f"truncated: the header promises {promised} frames, {len(packets)} are there")
    order = sorted((int(time), is_key) for time, is_key in packets if time is not None)
    timestamps = np.array([time for time, _ in order], dtype=np.int64)
    keyframes = np.array([number for number, (_, is_key) in enumerate(order, start=1) if is_key], dtype=np.int64)
    if not len(keyframes):
        raise InputError("no key frame in the file: there is nowhere to start decoding")
    span = float(timestamps[-1] - timestamps[0]) * float(time_base)
    fps = (len(timestamps) - 1) / span if span > 0 else 1.0
    return VideoInfo(timestamps=timestamps, keyframes=keyframes, time_base_seconds=float(time_base), fps=fps)


def split(video_id: str, location: str, info: VideoInfo, segment_seconds: float) -> list[Segment]:
    """Cut a video into segments of about a length, each beginning at a key frame.

    Every frame from the first key frame on is in exactly one segment. Frames before it cannot be decoded.
    """
    starts: list[int] = []
    for number in info.keyframes.tolist():
        elapsed = (info.timestamps[number - 1] - info.timestamps[starts[-1] - 1]) if starts else 0
        if not starts or float(elapsed) * info.time_base_seconds >= segment_seconds:
            starts.append(number)
    ends = [*starts[1:], len(info.timestamps) + 1]
    return [
        Segment(
            video_id=video_id,
            location=location,
            first_frame=start,
            timestamps=info.timestamps[start - 1 : end - 1],
            origin=int(info.timestamps[0]),
            time_base_seconds=info.time_base_seconds,
            fps=info.fps,
        )
        for start, end in zip(starts, ends, strict=True)
    ]


class PyAvDecoder:
    """FFmpeg through PyAV: exact, small in memory, and it reports broken files instead of skipping them."""

    def frames(self, segment: Segment, stride: int) -> Iterator[Frame]:
        """Yield every stride-th frame of a segment in order."""
        wanted = segment.sampled(stride)
        if not len(wanted):
            return
        last = int(segment.timestamps[wanted[-1]])
        wanted_times = {int(segment.timestamps[position]): int(position) for position in wanted}
        found = 0
        try:
            with storage.open_for_reading(segment.location) as stream, av.open(stream, mode="r") as container:
                track = container.streams.video[0]
                # Many actors with one thread each use the cores better than few actors with many threads.
                track.codec_context.thread_count = 1
                if segment.first_frame > 1:
                    container.seek(int(segment.timestamps[0]), stream=track, backward=True)
                for picture in container.decode(track):
                    time = picture.pts if picture.pts is not None else picture.dts
                    if time is None or int(time) > last:
                        break
                    position = wanted_times.get(int(time))
                    if position is not None:
                        found += 1
                        image = np.asarray(picture.to_ndarray(format="rgb24"), dtype=np.uint8)
                        yield Frame(segment.first_frame + position, segment.seconds(position), image)
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(f"decoding failed ({error.strerror or error})") from error
        if found < len(wanted):
            raise InputError(f"decoding gave {found} of {len(wanted)} sampled frames")


class DecordDecoder:
    """decord, one thread. It decodes ahead into memory after every access; `seek(0)` stops that."""

    def frames(self, segment: Segment, stride: int) -> Iterator[Frame]:
        """Yield every stride-th frame of a segment in order."""
        import decord  # not available on every platform

        wanted = segment.sampled(stride)
        with storage.local_copy(segment.location) as path:
            try:
                reader: Any = decord.VideoReader(path, num_threads=1)
                for start in range(0, len(wanted), FRAMES_PER_DECORD_BATCH):
                    positions = wanted[start : start + FRAMES_PER_DECORD_BATCH].tolist()
                    numbers = [segment.first_frame - 1 + position for position in positions]
                    images = reader.get_batch(numbers).asnumpy()
                    reader.seek(0)
                    for position, image in zip(positions, images, strict=True):
                        yield Frame(segment.first_frame + position, segment.seconds(position), image)
            except (decord.DECORDError, IndexError) as error:
                raise InputError(f"decoding failed ({str(error).splitlines()[0]})") from error


def make_decoder(name: Literal["pyav", "decord"]) -> Decoder:
    """Make a decoder by name.

    Raises:
        InputError: If decord is asked for where it is not installed.
    """
    if name == "pyav":
        return PyAvDecoder()
    try:
        import decord  # noqa: F401
    except ImportError as error:
        raise InputError("decord has no wheel for this platform; use --decoder pyav") from error
    return DecordDecoder()
