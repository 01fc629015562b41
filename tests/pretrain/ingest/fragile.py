"""Beside the test that uses it, whose imports every process of the pool would need."""

import os
from collections import Counter
from typing import Any

from pretrain.ingest.workers import ExtractSegment


class FragileSegment(ExtractSegment):
    """A decoder that takes its process with it at one segment, as a crash inside a codec does."""

    def clips(self, row: dict[str, Any]) -> tuple[list[dict[str, Any]], Counter[str]]:
        if (row["video_id"], row["first_frame"]) == ("a.mp4", 41):
            os._exit(1)
        return super().clips(row)
