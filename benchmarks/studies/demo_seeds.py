"""The demo's table over several seeds: python -m benchmarks.studies.demo_seeds --seeds 0 1 2."""

from typing import Any

import tyro

from benchmarks.studies.tables import spread
from cluster import session, storage
from cluster.console import console, print_result
from pretrain.demo.chain import DemoConfig, run_demo
from pretrain.demo.report import NAMES


def main(seeds: tuple[int, ...] = (0, 1, 2), out: str = "out/demo-seeds") -> None:
    """Run the demo for several seeds and print the table of means and standard deviations as Markdown.

    Args:
        seeds: Seeds of street, weights and training.
        out: One demo folder per seed goes below this one.
    """
    summaries = [run_demo(DemoConfig(out=f"{out}/{seed}", seed=seed)) for seed in seeds]
    session.disconnect()
    lines = ["| method | mAP | Rank-1 | right pairs (1 s) |", "|---|---|---|---|"]
    for name, title in NAMES.items():
        cells = [
            [summary["retrieval"][name]["mAP"] for summary in summaries],
            [summary["retrieval"][name]["rank1"] for summary in summaries],
            [summary["pairs"][name]["precision"] for summary in summaries],
        ]
        lines.append(f"| {title} | " + " | ".join(map(spread, cells)) + " |")
    text = "\n".join(lines)
    console.print(text, markup=False)
    result: dict[str, Any] = {"seeds": list(seeds), "summaries": summaries, "table": text}
    storage.write_json(storage.resolve(f"{out}/results.json"), result)
    print_result({"seconds": [summary["seconds"] for summary in summaries], "out": f"{out}/results.json"})


if __name__ == "__main__":
    tyro.cli(main)
