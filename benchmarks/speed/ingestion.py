"""How much of the raw decoding rate is left when people are cut out as well, and what it costs in memory."""

import resource
import statistics
import tempfile
import time
from collections.abc import Callable

import av

from pretrain.ingest.config import IngestConfig
from pretrain.ingest.decoders import PyAvDecoder, probe, split
from pretrain.ingest.detectors.detector import make_detector
from pretrain.ingest.extract import extract_clips
from pretrain.street.config import StreetConfig
from pretrain.street.write import write_street

BUDGET = 0.8
REPEATS = 5


def crops_against_decode() -> dict[str, float]:
    """Frame rate of video to crops (stride 5, free detector) over that of raw sequential decoding, one process each.

    The two are timed in turn, so that the machine's drift hits both alike.
    """
    config = IngestConfig(detector="boxes", stride=5, min_height=48)
    with tempfile.TemporaryDirectory() as folder:
        write_street(StreetConfig(identities=20, test_identities=0, cameras=1, seconds=60), folder + "/street")
        location = f"{folder}/street/camera1.mp4"
        [segment] = split("camera1.mp4", location, probe(location), 3600)
        detector = make_detector("boxes", weights="", min_height=config.min_height)

        def decode() -> None:
            with av.open(location, mode="r") as container:
                container.streams.video[0].codec_context.thread_count = 1
                for _ in container.decode(video=0):
                    pass

        def extract() -> None:
            extract_clips(segment, PyAvDecoder(), detector, config)

        ratios = [_seconds(decode) / _seconds(extract) for _ in range(REPEATS)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios), "peak_mib": peak}


def _seconds(function: Callable[[], None]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
