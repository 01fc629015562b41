"""The report of one or several rankings of the same images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cluster import storage
from cluster.errors import InputError
from evaluation.metrics.bootstrap import paired_differences
from evaluation.metrics.distances import Chunks
from evaluation.metrics.protocols import find_protocol
from evaluation.metrics.rank_list import queries_with_match, rank_list
from evaluation.metrics.retrieval import evaluate
from evaluation.report import sections
from evaluation.report.examples import show_lists
from evaluation.report.page import Section, Text, write_report
from evaluation.report.sections import Scored
from evaluation.scoring.comparison import align
from evaluation.scoring.files import ScoringConfig
from evaluation.scoring.matchers import MatchingConfig, open_matcher
from evaluation.scoring.problem import Problem, read_problem
from evaluation.scoring.ranking import Matcher, RankingConfig, rank
from evaluation.scoring.scores import BootstrapConfig, intervals_of


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportConfig:
    """What the report shows."""

    queries: int = 6
    """Rank lists of so many queries, chosen at random among those with a match."""
    length: int = 8
    """Gallery images in a rank list."""
    projection: Literal["none", "tsne", "umap"] = "none"
    """Features in the plane; UMAP needs the package umap-learn."""

    def __post_init__(self) -> None:
        if self.queries < 0 or self.length < 1:
            raise InputError(f"queries must be >= 0 and length >= 1, got {self.queries} and {self.length}")


def report_rankings(
    files: Mapping[str, str],
    out: str,
    scoring: ScoringConfig,
    config: ReportConfig,
) -> list[Scored]:
    """Score features files of the same images, and write the report.

    Args:
        files: Name of a method to its features file; the first is what others are compared with. At most six.
        out: The HTML file.
        scoring: How, for all alike.
        config: What is shown.

    Returns:
        The scores, in the order of the files.

    Raises:
        InputError: If a file cannot be used, or they are of different images.
    """
    protocol, matching = find_protocol(scoring.protocol), scoring.matching
    ranking, bootstrap = scoring.ranking, scoring.bootstrap
    methods: list[Scored] = []
    shown: list[Section] = []
    chosen = np.zeros(0, np.int64)
    for name, location in files.items():
        problem = read_problem([location], protocol)
        if methods:
            problem = align(problem, methods[0].problem)
        else:
            chosen = _choose(problem, config.queries, bootstrap.seed)
        with open_matcher(problem, [location], matching) as matcher:
            scored = _score(name, problem, matcher, ranking, bootstrap, chosen, config.length)
            if matching.matcher == "qaconv" and not methods and _has_images(scored, chosen):
                shown = [_matches(problem, matcher, scored, chosen)]
        methods.append(scored)
    page = [sections.score_table(methods), *_differences(methods, bootstrap), sections.cmc_figure(methods)]
    if ranking == RankingConfig() and matching.matcher == "cosine":
        page += [sections.distance_figure(method) for method in methods]
    page += [*_rank_lists(methods, chosen), *shown]
    if config.projection != "none":
        page += [sections.projection_figure(method, config.projection, seed=bootstrap.seed) for method in methods]
    subtitle = f"{', '.join(files)}: {_describe(matching, ranking)}, protocol {protocol.name}."
    write_report(out, "Retrieval", subtitle, [*page, sections.rules(methods)], tiles=sections.tiles(methods))
    return methods


def _choose(problem: Problem, num_queries: int, seed: int) -> NDArray[np.int64]:
    """Choose queries at random among those with a match: an honest sample, neither the best nor the worst."""
    found = queries_with_match(problem.labels, problem.protocol)
    return np.sort(np.random.default_rng(seed).permutation(found)[:num_queries])


def _score(
    name: str,
    problem: Problem,
    matcher: Matcher,
    ranking: RankingConfig,
    bootstrap: BootstrapConfig,
    chosen: NDArray[np.int64],
    length: int,
) -> Scored:
    """Score a ranking, and keep the distances of the chosen queries for their lists on the way."""
    kept = np.empty((len(chosen), len(problem.gallery)), np.float32)

    def passing() -> Chunks:
        for rows, part in rank(problem, matcher, ranking):
            is_here = (chosen >= rows.start) & (chosen < rows.stop)
            kept[is_here] = part[chosen[is_here] - rows.start]
            yield rows, part

    result = evaluate(passing(), problem.labels, problem.protocol, seed=bootstrap.seed)
    kept[problem.query_rows[chosen][:, None] == problem.gallery_rows] = np.inf  # an image never finds itself
    labels = problem.labels.take(chosen, slice(None)) if len(chosen) else problem.labels
    lists = rank_list([(slice(0, len(chosen)), kept)] if len(chosen) else [], labels, problem.protocol, length=length)
    return Scored(name=name, problem=problem, result=result, intervals=intervals_of(result, bootstrap), lists=lists)


def _differences(methods: list[Scored], bootstrap: BootstrapConfig) -> list[Section]:
    if len(methods) < 2 or not bootstrap.resamples:
        return []
    first, *others = methods
    differences = {
        method.name: paired_differences(
            method.result, first.result, num_resamples=bootstrap.resamples, seed=bootstrap.seed
        )
        for method in others
    }
    return [sections.difference_table(differences, first.name)]


def _has_images(scored: Scored, chosen: NDArray[np.int64]) -> bool:
    """Tell whether the pictures are where the features file says; features of another machine come without them."""
    query, gallery = scored.problem.query, scored.problem.gallery
    listed = scored.lists.gallery_index[scored.lists.gallery_index >= 0]
    paths = [*query.path[chosen], *gallery.path[listed]]
    return bool(paths) and all(storage.exists(storage.resolve(path)) for path in paths)


def _rank_lists(methods: list[Scored], chosen: NDArray[np.int64]) -> list[Section]:
    if not len(chosen):
        return []
    if not all(_has_images(method, chosen) for method in methods):
        path = methods[0].problem.query.path[chosen[0]]
        text = f"The images are not where the features file says they are, such as {path}, so none is shown here."
        return [Text(heading="Rank lists", paragraphs=(text,))]
    gallery = methods[0].problem.gallery
    lists = {method.name: method.lists for method in methods}
    caption = "Queries chosen at random among those with a match; the nearest gallery images that the rules leave in."
    query = methods[0].problem.query.take(chosen)
    return [show_lists(lists, query, gallery, heading="Rank lists", caption=caption)]


def _matches(problem: Problem, matcher: Matcher, scored: Scored, chosen: NDArray[np.int64]) -> Section:
    from evaluation.report.match_sections import match_pictures
    from evaluation.scoring.qaconv_matcher import QAConvMatcher  # torch is slow to load

    assert isinstance(matcher, QAConvMatcher)
    return match_pictures(problem, matcher, scored.lists, chosen)


def _describe(matching: MatchingConfig, ranking: RankingConfig) -> str:
    parts = ["cosine of features"]
    if matching.matcher == "qaconv":
        how = "of all pairs" if matching.exact else f"of {matching.shortlist} candidates each"
        parts = [f"QAConv of feature maps, {how}"]
    parts += ["k-reciprocal re-ranking"] if ranking.rerank else []
    parts += ["TLift"] if ranking.tlift else []
    return ", ".join(parts)
