"""A tiny drawn recording for the tests: two coloured people on grey, as a sequence of MOTChallenge or as a video."""

from fractions import Fraction

import av
import cv2
import numpy as np

WIDTH, HEIGHT, FPS, FRAMES = 96, 64, 4, 17
COLOURS = {1: (200, 30, 30), 2: (30, 30, 200)}


def box_of(identity, frame):
    """Left, top, width, height in pixels from 0: person 1 stays for all frames, person 2 is there in frames 3 to 6."""
    if identity == 1:
        return 4 + 3 * frame, 10, 12, 40
    return 40, 20, 10, 32 if 3 <= frame <= 6 else 0


def boxes():
    """Frame, identity, left, top, width, height of everybody, by frame."""
    return [
        (frame, identity, *box_of(identity, frame))
        for frame in range(1, FRAMES + 1)
        for identity in (1, 2)
        if box_of(identity, frame)[3]
    ]


def picture(frame):
    """RGB uint8 [H, W, 3]."""
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for number, identity, left, top, width, height in boxes():
        if number == frame:
            image[top : top + height, left : left + width] = COLOURS[identity]
    return image


def write_sequence(folder, extra=()):
    """A folder of MOTChallenge; its pixels count from 1."""
    (folder / "img1").mkdir(parents=True)
    (folder / "gt").mkdir()
    for frame in range(1, FRAMES + 1):
        cv2.imwrite(str(folder / "img1" / f"{frame:06d}.jpg"), cv2.cvtColor(picture(frame), cv2.COLOR_RGB2BGR))
    lines = [f"{f},{i},{x + 1},{y + 1},{w},{h},1,1,1.0" for f, i, x, y, w, h in boxes()]
    (folder / "gt" / "gt.txt").write_text("\n".join([*lines, *extra]) + "\n", encoding="utf-8")
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname=drawn\nimDir=img1\nframeRate={FPS}\nseqLength={FRAMES}\n"
        f"imWidth={WIDTH}\nimHeight={HEIGHT}\nimExt=.jpg\n",
        encoding="utf-8",
    )
    return folder


def write_video(folder, identity="identity"):
    """A video file beside its boxes."""
    path = folder / "drawn.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in range(1, FRAMES + 1):
            image = av.VideoFrame.from_ndarray(picture(frame), format="rgb24")
            image.pts, image.time_base = frame - 1, Fraction(1, FPS)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
    lines = [",".join(map(str, box)) for box in boxes()]
    (folder / "drawn.gt.csv").write_text(
        "\n".join([f"frame,{identity},left,top,width,height", *lines]) + "\n", encoding="utf-8"
    )
    return path
