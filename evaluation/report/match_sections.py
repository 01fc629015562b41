"""What QAConv compared: lines between the locations of a query and of what it found."""

import numpy as np

from evaluation.datasets.images import read_image
from evaluation.metrics.rank_list import RankList
from evaluation.report.match_lines import draw_matches
from evaluation.report.page import Picture, Pictures
from evaluation.scoring.problem import Problem
from evaluation.scoring.qaconv_matcher import QAConvMatcher


def match_pictures(problem: Problem, matcher: QAConvMatcher, lists: RankList, query_rows: np.ndarray) -> Pictures:
    """Draw the locations that match best between queries and the first image that each found.

    Args:
        problem: Queries and gallery.
        matcher: Has their maps.
        lists: Rank lists of the queries.
        query_rows: Rows of these queries among all queries.

    Raises:
        ValueError: If an image cannot be read.
    """
    shape = matcher.maps.stores[0].shape
    pictures = []
    for number, query in enumerate(query_rows):
        found = int(lists.gallery_index[number, 0])
        if found < 0:
            continue
        best = matcher.correspondences(int(problem.query_rows[query]), int(problem.gallery_rows[found]))
        image = draw_matches(
            read_image(str(problem.query.path[query])),
            read_image(str(problem.gallery.path[found])),
            best.gallery_location,
            best.query_similarity,
            height=shape.height,
            width=shape.width,
            back_L=best.query_location,
        )
        caption = f"camera {problem.query.camera[query]} and {problem.gallery.camera[found]}"
        pictures.append(Picture(image=image, caption=caption, is_right=bool(lists.is_right[number, 0])))
    return Pictures(
        heading="What matched",
        pictures=tuple(pictures),
        caption="Query (left) and the first image found for it. Lines join the locations of the feature maps that are "
        "each other's best match: thin and violet for a cosine of 0.5 or less, thick and yellow towards 1.",
    )
