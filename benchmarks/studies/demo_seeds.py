"""The demo's table over several seeds: street, people, weights and training are each seed's own."""

from benchmarks.studies.study import Numbers, Place, Results, Study
from benchmarks.studies.tables import markdown, spread
from cluster import session
from cluster.values import to_json
from pretrain.demo.chain import INGEST, DemoConfig, run_demo, run_of, street_of
from pretrain.demo.report import NAMES
from pretrain.recipes import infonce_tiny, isr_tiny

ARM = "demo"
"""The demo compares its four methods itself, on the same clips."""


def study(seeds: tuple[int, ...] = (0, 1, 2)) -> Study:
    """Make the study.

    Args:
        seeds: Seeds of street, weights and training.
    """
    config = DemoConfig()
    settings = {
        "street": to_json(street_of(config)),
        "ingest": to_json(INGEST),
        "infonce": to_json(run_of(config, infonce_tiny())),
        "isr": to_json(run_of(config, isr_tiny())),
    }
    return Study(name="demo-seeds", arms={ARM: settings}, seeds=seeds, run=_run, table=table, is_parallel=False)


def _run(arm: str, seed: int, place: Place) -> Numbers:
    try:
        return run_demo(DemoConfig(out=place.folder, seed=seed))
    finally:
        session.disconnect()


def table(results: Results) -> str:
    """Format mean and standard deviation over the seeds, percent."""
    summaries = list(results[ARM].values())
    rows = []
    for name, title in NAMES.items():
        cells = [
            [summary["retrieval"][name]["mAP"] for summary in summaries],
            [summary["retrieval"][name]["rank1"] for summary in summaries],
            [summary["pairs"][name]["precision"] for summary in summaries],
        ]
        rows.append([title, *map(spread, cells)])
    return markdown(["method", "mAP", "Rank-1", "right pairs (1 s)"], rows)
