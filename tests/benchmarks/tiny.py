"""A study of arithmetic: what is run in other processes lives in a module."""

import os
import signal
import time
from functools import partial
from pathlib import Path

from benchmarks.studies.study import Numbers, Place, Preparation, Results, Study
from benchmarks.studies.tables import markdown, spread


def tiny(arms=("half", "whole"), seeds=(0, 1), steps=1) -> Study:
    """Arms add to a number that is drawn once a seed."""
    return Study(
        name="tiny",
        arms={arm: {"share": {"half": 0.5}.get(arm, 1.0), "sizes": (1, 2)} for arm in arms},
        seeds=seeds,
        run=partial(run, steps),
        table=table,
        options={"steps": steps},
        prepare=({f"number-{seed}": Preparation({"seed": seed}, partial(draw, seed)) for seed in seeds},),
        pictures=draw_nothing,
    )


def note(folder: str) -> None:
    """Count how often something was done."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(f"{folder}/calls", "a", encoding="utf-8") as calls:
        calls.write("x")


def draw(seed: int, place: Place) -> None:
    note(place.folder)
    Path(place.folder, "number").write_text(str(seed / 10), encoding="utf-8")


def run(steps: int, arm: str, seed: int, place: Place) -> Numbers:
    note(place.folder)
    if arm == "fails" and not Path(place.shared, "mended").exists():
        raise ZeroDivisionError("no such share")
    if arm == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if arm == "waits":
        Path(place.shared, "pid").write_text(str(os.getpid()), encoding="utf-8")
        time.sleep(600)
    number = float(Path(place.prepared(f"number-{seed}"), "number").read_text(encoding="utf-8"))
    threads = os.environ["OMP_NUM_THREADS"]
    return {"mAP": number * (0.5 if arm == "half" else 1.0), "steps": steps, "threads": threads}


def table(results: Results) -> str:
    rows = [[arm, spread([one["mAP"] for one in by_seed.values()])] for arm, by_seed in results.items()]
    return markdown(["arm", "mAP"], rows)


def draw_nothing(results: Results, folder: str) -> None:
    Path(folder, "picture.svg").write_text(" ".join(results), encoding="utf-8")
