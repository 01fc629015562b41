"""What a sweep writes: tables, JSON and charts, from trials that finished, were stopped, or failed."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from cluster import storage
from cluster.sweep.report import log_ticks, response_chart, response_figure, to_markdown, write_sweep
from cluster.sweep.search_space import Axis, draw_trials, read_space
from cluster.sweep.trials import new_record, ordered

SPACE = read_space(["loss.temperature=0.03:0.3", "head=linear,none", "depth=randint(1,9)", "drop=uniform(0,0.5)"])


def found_of(space, *, samples=1, seed=0, metric="mAP"):
    """Every third trial was stopped, one failed."""
    rng = np.random.default_rng(seed)
    records = {}
    for number, settings in enumerate(draw_trials(space, samples=samples, seed=seed)):
        record = records[f"trial-{number}"] = new_record(settings)
        steps = 10 if number % 3 else 3
        record["metrics"] = {metric: float(rng.uniform(0.2, 0.6)), "loss": 1.0}
        record["reports"] = [{"step": steps, "metrics": record["metrics"]}]
        record["state"] = "stopped" if number % 3 == 2 else "finished"
        if number == 4:
            record |= {"state": "failed", "error": "ValueError: a | b"}
    return ordered("/out", records, metric, "max")


def texts(svg):
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_all_is_written_and_the_best_is_named(tmp_path):
    found = found_of(SPACE[:2], samples=4)
    out = str(tmp_path)
    write_sweep(out, found, metric="mAP", over=SPACE[:2])
    assert storage.read_json(f"{out}/sweep.json") == {"trials": found}
    best = storage.read_json(f"{out}/best.json")
    assert best["settings"] == found[0]["settings"]
    finished = [trial["metrics"]["mAP"] for trial in found if not {"stopped_at", "error"} & set(trial)]
    assert (best["metric"], best["value"]) == ("mAP", max(finished))
    assert best["trial"] == found[0]["trial"]
    assert (tmp_path / "response.svg").read_text(encoding="utf-8").startswith("<?xml")
    write_sweep(out, [{"settings": {"x": 1}, "trial": "/out/a", "error": "no"}], metric="mAP", over=SPACE[:1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.md", "sweep.json"], "nothing old stays"


def test_the_table_ranks_and_escapes():
    found = found_of(SPACE[:2], samples=4)
    text = to_markdown(found, "mAP", "max")
    lines = text.splitlines()
    assert "Larger is better. 8 trials: 5 finished, 2 stopped, 1 failed." in text
    assert lines[4] == "| rank | head | loss.temperature | mAP | steps | state |"
    assert [line.split(" | ")[0] for line in lines[6:]] == ["| 1", "| 2", "| 3", "| 4", "| 5", "| 6", "| 7", "| "]
    assert [line.rstrip(" |").rsplit(" | ")[-1] for line in lines[11:13]] == ["stopped", "stopped"]
    assert lines[-1].endswith(r"failed: ValueError: a \| b |")
    assert len({line.replace(r"\|", "").count("|") for line in lines[4:]}) == 1


def test_the_chart_names_settings_states_and_the_best():
    found = found_of(SPACE, samples=10)
    svg = response_chart(found, "mAP", "max", SPACE)
    shown = texts(svg)
    assert {"loss.temperature", "head", "depth", "drop", "mAP", "linear", "none", "0.1"} <= set(shown)
    assert "mAP of 19 trials, larger is better" in shown
    num_stopped = sum("stopped_at" in trial for trial in found)
    best = found[0]["metrics"]["mAP"]
    assert {f"finished ({19 - num_stopped})", f"stopped ({num_stopped})", f"best: {best:.4g}"} <= set(shown)
    assert svg == response_chart(found, "mAP", "max", SPACE), "equal byte for byte"


@pytest.mark.parametrize("num_settings", [1, 2, 4])
@pytest.mark.parametrize("samples", [1, 20])
def test_no_text_lies_on_another(num_settings, samples):
    figure = response_figure(found_of(SPACE[:num_settings], samples=samples), "mAP", "max", SPACE[:num_settings])
    figure.draw_without_rendering()
    every = list(figure.legends[0].get_texts())
    for axis in (axis for panel in figure.axes for axis in (panel.xaxis, panel.yaxis)):
        low, high = sorted(axis.get_view_interval())
        every += [axis.label, *(tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high)]
    boxes = [text.get_window_extent() for text in every if text.get_text() and text.get_visible()]
    assert len(boxes) >= 8
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])


def test_long_names_of_values_are_shortened():
    space = [Axis(name="start", kind="list", values=tuple(f"/models/a-long-name-{number}" for number in range(5)))]
    shown = texts(response_chart(found_of(space), "mAP", "max", space))
    assert shown.count("/models/a-lon…") == 5


@pytest.mark.parametrize("ends", [(0.03, 0.3), (1e-6, 1), (0.5, 0.6), (1, 2), (0.01, 1), (3, 5000)])
def test_ticks_of_a_logarithmic_axis_are_few_and_inside(ends):
    ticks = log_ticks(*ends)
    assert 3 <= len(ticks) <= 7
    assert ticks == sorted(set(ticks))
    assert ends[0] * (1 - 1e-6) <= ticks[0] < ticks[-1] <= ends[1] * (1 + 1e-6)
